"""`LRSearch` that was interrupted or is done, in a run that is resumed."""

from __future__ import annotations

import signal
from functools import cache
from pathlib import Path

import pytest
import torch

from lightning_lr import LRSearch, SearchResult
from tests.helpers.interrupted_training import ERRORS, STEPS, Interrupted, OnException
from tests.helpers.lightning_classes import MisconfigurationException, seed_everything
from tests.helpers.lr_finder_runs import SHORT_SEARCH, fit, found, lrs
from tests.helpers.tiny_models import Classifier

pytestmark = pytest.mark.filterwarnings("ignore:LRSearch is not confident")


@cache
def whole_search() -> tuple[SearchResult, list[float]]:
    """The result of a search that nothing interrupts, and the losses of the training."""
    STEPS["left"] = 0  # never
    seed_everything(0)
    search, model = LRSearch(1e-3, 1.0), Interrupted(lr=1e-3)
    fit(model, search, max_epochs=5)
    return found(search), model.losses


@pytest.mark.parametrize(
    ("error", "steps"),
    [*(("KeyboardInterrupt", steps) for steps in (20, 220, 350)), ("MisconfigurationException", 220), ("SIGTERM", 220)],
)
def test_an_interrupted_search_goes_on_where_it_was(error: str, steps: int, tmp_path: Path) -> None:
    interrupt = signal.getsignal(signal.SIGINT)
    whole, losses = whole_search()
    STEPS["left"] = steps
    seed_everything(0)
    cut = LRSearch(1e-3, 1.0)
    with pytest.raises((ERRORS[error], SystemExit)):
        fit(Interrupted(error, lr=1e-3), cut, OnException(tmp_path), max_epochs=5)
    signal.signal(signal.SIGINT, interrupt)  # Lightning ignores it from a first Ctrl-C on
    assert cut.result is None
    told = cut.state_dict()["search"]["bracket"]["told"]
    assert (len(told) > 0) == (steps > 50)

    STEPS["left"] = 0
    torch.manual_seed(1234)  # another process begins with other random states
    resumed, again = LRSearch(1e-3, 1.0), Interrupted(error, lr=1e-3)
    fit(again, resumed, max_epochs=5, ckpt_path=tmp_path / "on_exception.ckpt")
    assert found(resumed).candidates == whole.candidates
    spent = sum(each["spent"] for each in told)
    survivors_again = 3 * 40  # their states are not in a checkpoint
    assert -STEPS["left"] <= whole.steps - spent + survivors_again + len(losses)
    assert again.losses == losses


def test_changed_arguments_start_another_search(tmp_path: Path) -> None:
    STEPS["left"] = 220
    with pytest.raises(MisconfigurationException, match="the user's own"):
        fit(Interrupted(), LRSearch(1e-3, 1.0), OnException(tmp_path))
    STEPS["left"] = 0
    search = LRSearch(1e-4, 0.1, budget=800)
    with pytest.warns(UserWarning, match=r"LRSearch is resumed with changed arguments.*min_lr: 0.001 -> 0.0001"):
        fit(Interrupted(), search, ckpt_path=tmp_path / "on_exception.ckpt")
    assert min(each.lr for each in found(search).candidates) == pytest.approx(1e-4)


def test_a_search_that_is_done_is_not_run_again(tmp_path: Path) -> None:
    first = LRSearch(**SHORT_SEARCH)
    trainer = fit(Classifier(lr=1e-3), first, max_epochs=1)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    second, model = LRSearch(**SHORT_SEARCH), Classifier(lr=1e-3)
    resumed = fit(model, second, ckpt_path=tmp_path / "run.ckpt")
    assert len(model.losses) == 20
    assert second.result == first.result
    assert lrs(resumed) == [found(first).lr]


def test_a_search_added_to_a_run_under_way_says_so(tmp_path: Path) -> None:
    fit(Classifier(), max_epochs=1).save_checkpoint(tmp_path / "run.ckpt")
    search = LRSearch(**SHORT_SEARCH)
    with pytest.warns(UserWarning, match="at the start of a run only"):
        fit(Classifier(), search, ckpt_path=tmp_path / "run.ckpt")
    assert search.result is None
