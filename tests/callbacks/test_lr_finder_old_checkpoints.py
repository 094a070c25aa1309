"""Checkpoints that `LRRangeTest` and `LRSearch` of version 0.1.0 saved.

``tests/data/finder_states_0.1.0.json`` has the states of these callbacks: with a search that was finished, one that was
interrupted, and a range test without a search. Their runs had 20 steps and `Classifier(lr=1e-3)`.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_lr import LRRangeTest, LRSearch
from tests.helpers.interrupted_training import STEPS, Interrupted, OnException
from tests.helpers.lightning_classes import MisconfigurationException
from tests.helpers.lr_finder_runs import fit, found, lrs
from tests.helpers.tiny_models import Classifier

pytestmark = pytest.mark.filterwarnings("ignore:LR(RangeTest|Search) is not confident")

STATES: dict[str, Any] = json.loads((Path(__file__).parents[1] / "data" / "finder_states_0.1.0.json").read_text())
NOT_CONTINUED = "the search in the checkpoint is of an older version"


def finder_of(name: str) -> LRRangeTest | LRSearch:
    """A finder with the arguments that the old one had."""
    if name.startswith("LRSearch"):
        return LRSearch(1e-2, 1.0, budget=350, limit_batches=100)
    return LRRangeTest(1e-4, 0.3, 20)


def checkpoint(name: str, finder: LRRangeTest | LRSearch, folder: Path) -> Path:
    """A checkpoint with an old state: of the end of the first epoch, or of the first step if it was interrupted."""
    path = folder / "on_exception.ckpt"
    if name.endswith("interrupted"):
        STEPS["left"] = 1
        with pytest.raises(MisconfigurationException, match="the user's own"):
            fit(Interrupted(lr=1e-3), OnException(folder))
        STEPS["left"] = 0
    else:
        fit(Classifier(lr=1e-3), max_epochs=1).save_checkpoint(path)
    saved = torch.load(path, weights_only=True)
    saved["callbacks"] = {finder.state_key: copy.deepcopy(STATES[name])}
    torch.save(saved, path)
    return path


@pytest.mark.parametrize("name", [name for name in STATES if "finished" in name])
def test_what_was_finished_is_not_searched_again(name: str, tmp_path: Path) -> None:
    finder, model = finder_of(name), Classifier(lr=1e-3)
    trainer = fit(model, finder, ckpt_path=checkpoint(name, finder, tmp_path))
    assert len(model.losses) == 20  # of the second epoch, and of no trial
    assert lrs(trainer) == [1e-3]  # as the optimizer's state in the checkpoint says
    if isinstance(finder, LRRangeTest):
        assert finder.result is not None
        assert finder.result.lr == STATES[name]["result"]["lr"]


def test_a_search_that_was_planned_by_other_rules_is_not_continued(caplog: pytest.LogCaptureFixture) -> None:
    """Earlier states did not say by which rules. Now a state that does not follow them is an error."""
    search = LRSearch(1e-2, 1.0, budget=350, limit_batches=100)
    fit(Classifier(lr=1e-3), search, max_epochs=1)
    state = search.state_dict()
    state["search"]["bracket"]["told"][0]["lr"] *= 2
    with pytest.raises(ValueError, match="LRSearch cannot use its state in the checkpoint"):
        LRSearch(1e-2, 1.0, budget=350, limit_batches=100).load_state_dict(state)
    del state["search"]["bracket"]["plan"]
    with caplog.at_level("INFO"):
        LRSearch(1e-2, 1.0, budget=350, limit_batches=100).load_state_dict(state)
    assert NOT_CONTINUED in caplog.text


@pytest.mark.parametrize("name", [name for name in STATES if "interrupted" in name])
def test_what_was_interrupted_starts_anew_and_says_so(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    finder, model = finder_of(name), Interrupted(lr=1e-3)
    path = checkpoint(name, finder, tmp_path)
    with caplog.at_level("INFO"):
        trainer = fit(model, finder, ckpt_path=path, max_epochs=1)
    assert caplog.text.count(NOT_CONTINUED) == 1
    assert lrs(trainer) == [found(finder).lr]
    assert len(found(finder).candidates) >= 3
