"""`LRRangeTest` that is not confident: it searches, or warns with ``if_unsure='warn'``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_lr import LRRangeTest
from tests.helpers.interrupted_training import STEPS, Interrupted, OnException
from tests.helpers.lightning_classes import MisconfigurationException, seed_everything
from tests.helpers.lr_finder_runs import fit, found, stream
from tests.helpers.tiny_models import Classifier

pytestmark = pytest.mark.filterwarnings("ignore:LRSearch is not confident")


SWEEP: dict[str, Any] = {"num_steps": 20, "min_lr": 1e-4, "max_lr": 0.3}  # too few to be confident


def test_an_unsure_range_test_searches_and_says_why(caplog: pytest.LogCaptureFixture) -> None:
    test = LRRangeTest(**SWEEP)
    seed_everything(0)
    searched = Classifier(lr=1e-3)
    with caplog.at_level("INFO"):
        fit(searched, test)
    assert test.result is not None
    result = found(test)
    assert (test.result.lr, test.result.max_lr, test.result.reasons) == (result.lr, result.max_lr, result.reasons)
    assert "LRRangeTest is not confident: no divergence was reached up to lr=0.3: raise max_lr" in caplog.text
    assert "are tried one by one" in caplog.text
    assert all(1e-4 * 0.999 <= each.lr <= 0.3 * 1.001 for each in result.candidates)
    assert max(each.lr for each in result.candidates) / min(each.lr for each in result.candidates) <= 1001

    seed_everything(0)
    plain = Classifier(lr=result.lr)
    fit(plain)
    assert searched.losses == plain.losses


def test_a_sure_range_test_does_not_search() -> None:
    test = LRRangeTest(num_steps=200)
    fit(Classifier(lr=1e-3), test, max_epochs=1)
    assert test.result is not None
    assert test.result.search is None
    assert test.result.confident


@pytest.mark.filterwarnings("ignore:LRRangeTest is not confident")
def test_warn_keeps_what_the_sweep_found() -> None:
    test = LRRangeTest(**SWEEP, if_unsure="warn")
    fit(Classifier(lr=1e-3), test, max_epochs=1)
    assert test.result is not None
    assert test.result.search is None
    assert not test.result.confident


@pytest.mark.filterwarnings("ignore:LRRangeTest is not confident")
def test_an_unsure_range_test_on_a_stream() -> None:
    test, searched, plain = LRRangeTest(**SWEEP), Classifier(lr=1e-3), Classifier()
    plain.load_state_dict(searched.state_dict())
    fit(searched, test, data=stream(), max_epochs=1)
    plain.hparams["lr"] = found(test).lr
    fit(plain, data=stream(), max_epochs=1)
    assert searched.losses == plain.losses


@pytest.mark.filterwarnings("ignore:LRRangeTest is not confident")
@pytest.mark.parametrize("epoch", [0, 1])
def test_a_search_of_a_range_test_goes_on_too(epoch: int, tmp_path: Path) -> None:
    arguments = {**SWEEP, "at_epochs": [epoch]}
    STEPS["left"] = 0
    seed_everything(0)
    whole, model = LRRangeTest(**arguments), Interrupted(lr=1e-3)
    fit(model, whole, max_epochs=3)
    STEPS["left"] = 400
    seed_everything(0)
    cut = LRRangeTest(**arguments)
    with pytest.raises(MisconfigurationException, match="the user's own"):
        fit(Interrupted(lr=1e-3), cut, OnException(tmp_path), max_epochs=3)
    assert len(cut.state_dict()["search"]["bracket"]["told"]) > 2
    STEPS["left"] = 0
    resumed, again = LRRangeTest(**arguments), Interrupted(lr=1e-3)
    fit(again, resumed, max_epochs=3, ckpt_path=tmp_path / "on_exception.ckpt")
    assert found(resumed).candidates == found(whole).candidates
    assert resumed.result is not None
    assert whole.result is not None
    assert resumed.result.curve.losses.tolist() == whole.result.curve.losses.tolist()
    assert resumed.state_dict()["done_epochs"] == [epoch]
    trainer = fit(Classifier(lr=1e-3), whole, max_epochs=3)
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    third = LRRangeTest(**arguments)
    third.load_state_dict(torch.load(tmp_path / "end.ckpt", weights_only=True)["callbacks"][third.state_key])
    assert third.result is not None
    assert third.result.search == whole.result.search
