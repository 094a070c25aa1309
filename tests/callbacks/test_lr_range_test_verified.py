"""`LRRangeTest` with its default ``verify=True``: short trainings try what the sweep suggests."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_lr import CyclicalLR, LRRangeTest, LRSearch
from tests.helpers.interrupted_training import STEPS, Interrupted, OnException
from tests.helpers.lightning_classes import Callback, MisconfigurationException, Trainer, seed_everything
from tests.helpers.lr_finder_runs import UsedLRs, fit, found, lrs, stream
from tests.helpers.searches import middle_of
from tests.helpers.tiny_models import Classifier, ManualWithTwoOptimizers

pytestmark = pytest.mark.filterwarnings("ignore:LRRangeTest is not confident")


SWEEP: dict[str, Any] = {"num_steps": 20, "min_lr": 1e-4, "max_lr": 1.0}

# Arguments of the model, and of the Trainer.
SETTINGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "SGD": ({}, {}),
    "Adam": ({"optimizer": "Adam"}, {}),
    "two parameter groups": ({"backbone_ratio": 0.25}, {}),
    "accumulation": ({}, {"accumulate_grad_batches": 3}),
    "mixed precision": ({}, {"precision": "bf16-mixed"}),
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_run_equals_one_started_with_the_learning_rate_found(setting: str) -> None:
    model, trainer = SETTINGS[setting]
    seed_everything(0)
    tested, test = Classifier(lr=1e-3, **model), LRRangeTest(**SWEEP)
    fit(tested, test, **trainer)
    assert test.result is not None
    lr = found(test).lr
    assert tested.hparams["lr"] == test.result.lr == lr

    seed_everything(0)
    plain = Classifier(lr=lr, **model)
    fit(plain, **trainer)
    assert tested.losses == plain.losses
    for ours, theirs in zip(tested.state_dict().values(), plain.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)


def test_the_suggestion_is_that_of_the_trials_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    test = LRRangeTest()
    with caplog.at_level("INFO"):
        fit(Classifier(lr=1e-3), test, max_epochs=10)
    assert test.result is not None
    trials = found(test)
    for name in ("lr", "base_lr", "max_lr", "one_cycle_max_lr", "confident", "reasons"):
        assert getattr(test.result, name) == getattr(trials, name)
    assert "LRRangeTest: the sweep suggests lr=" in caplog.text
    assert f"LRRangeTest found lr={test.result.lr:.3g}" in caplog.text

    assert len(trials.candidates) >= 3
    assert trials.steps <= 1400
    best, *_ = trials.candidates
    tried = sorted(each.lr for each in trials.candidates)
    assert tried[0] < best.lr < tried[-1]
    assert not any("high" in each.verdict for each in trials.candidates if each.lr <= test.result.max_lr)


def test_a_sweep_that_is_not_confident_says_why_before_the_trials(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        fit(Classifier(lr=1e-3), LRRangeTest(1e-9, 1e-8, mode="linear"), EndsTheRun())
    (text,) = [record.message for record in caplog.records if "the sweep suggests" in record.message]
    assert re.search(r"suggests lr=\S+, but is not confident: loss improved by only .* Short trainings now try", text)


class EndsTheRun(Callback):
    """Ends the run after its first step."""

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        trainer.should_stop = True


def _best_of_trials(test: LRRangeTest) -> str:
    """The first sentence of the message, and the second if the next higher learning rate was good too."""
    best, middle = found(test).candidates[0], middle_of(found(test).candidates)
    first = f"lr={best.lr:.3g} is the best in trials of {best.steps} steps."
    if middle == best.lr:
        return first
    return f"{first} lr={middle**2 / best.lr:.3g} did nearly as well, and the middle is {middle:.3g}."


def test_says_why_sgd_gets_a_lower_learning_rate_than_the_best(caplog: pytest.LogCaptureFixture) -> None:
    seed_everything(0)
    test = LRRangeTest()
    with caplog.at_level("INFO"):
        fit(Classifier(lr=1e-3), test, EndsTheRun())
    lr = 0.75 * middle_of(found(test).candidates)
    assert (
        f"LRRangeTest: {_best_of_trials(test)} With SGD a run gets 75 % of that, since a little more may be too high:"
        f" {lr:.3g}."
    ) in caplog.text


@pytest.mark.parametrize("max_steps", [60, 1200])
def test_says_why_a_longer_run_gets_a_lower_learning_rate_than_the_best(
    caplog: pytest.LogCaptureFixture, max_steps: int
) -> None:
    seed_everything(0)
    test = LRRangeTest()
    with caplog.at_level("INFO"):
        fit(Classifier(lr=1e-3, optimizer="Adam"), test, EndsTheRun(), max_epochs=-1, max_steps=max_steps)
    assert test.result is not None
    reason = (
        f"LRRangeTest: {_best_of_trials(test)} Runs longer than the trials need less: {test.result.lr:.3g} in"
        f" {max_steps} steps."
    )
    assert (reason in caplog.text) == (max_steps > found(test).candidates[0].steps)


def test_verify_false_keeps_what_the_sweep_found() -> None:
    test = LRRangeTest(**SWEEP, verify=False)
    fit(Classifier(lr=1e-3), test, max_epochs=1)
    assert test.result is not None
    assert test.result.search is None
    assert test.state_dict()["search"] is None


def test_apply_false_changes_nothing() -> None:
    losses = []
    for callbacks in ([LRRangeTest(**SWEEP, apply=False)], []):
        seed_everything(0)
        model = Classifier(lr=1e-3)
        fit(model, *callbacks)
        losses.append(model.losses)
        assert model.hparams["lr"] == 1e-3
    assert losses[0] == losses[1]


def test_a_stream_that_can_be_read_once() -> None:
    test, searched, plain = LRRangeTest(**SWEEP), Classifier(lr=1e-3), Classifier()
    plain.load_state_dict(searched.state_dict())
    fit(searched, test, data=stream(), max_epochs=1)
    plain.hparams["lr"] = found(test).lr
    fit(plain, data=stream(), max_epochs=1)
    assert searched.losses == plain.losses


def test_a_validation_metric() -> None:
    """Trials read the metric as often as the sweep, but at least ten steps apart."""
    test = LRRangeTest(1e-4, 1.0, 30, monitor="val_acc", monitor_mode="max", steps_per_lr=2, eval_batches=2)
    fit(Classifier(lr=1e-3), test)
    trials = found(test)
    assert 0.5 < trials.candidates[0].score <= 1
    assert all(len(each.values) == each.steps / 10 for each in trials.candidates)


def test_manual_optimization_with_two_optimizers() -> None:
    test = LRRangeTest(**SWEEP)
    trainer = fit(ManualWithTwoOptimizers(), test)
    assert lrs(trainer) == pytest.approx([found(test).lr, 0.1 * found(test).lr])


def test_an_open_cycle_takes_the_bounds_of_the_trials() -> None:
    test, cycle, watch = LRRangeTest(**SWEEP), CyclicalLR(step_size=5), UsedLRs()
    fit(Classifier(lr=1e-3), test, cycle, watch, max_epochs=1)
    assert (watch.lrs[0], watch.lrs[5]) == pytest.approx((found(test).base_lr, found(test).max_lr))


@pytest.mark.parametrize(("optimizer", "share"), [("Adam", None), ("SGD", 0.75), ("Adagrad", 1)])
@pytest.mark.parametrize("finder", [LRRangeTest, LRSearch])
def test_a_longer_run_gets_a_lower_learning_rate_with_adam(
    finder: type[LRRangeTest | LRSearch], optimizer: str, share: float | None
) -> None:
    """With the middle l of the good ones in trials of 200 steps, a run of 4000 steps gets ``l (200 / 4000)^0.35``."""
    results = []
    for epochs in (10, 200):
        test = finder(1e-3, 1.0, apply=False)
        seed_everything(0)
        fit(Classifier(lr=1e-3, optimizer=optimizer), test, EndsTheRun(), max_epochs=epochs)
        results.append(test)
    short, long = (found(test) if isinstance(test, LRRangeTest) else test.result for test in results)
    assert short is not None
    assert long is not None
    assert short.lr == pytest.approx(middle_of(short.candidates) * (share or 1))
    steps = long.candidates[0].steps
    assert long.lr == pytest.approx(middle_of(long.candidates) * (share or (steps / 4000) ** 0.35))
    resumed = finder(1e-3, 1.0, apply=False)
    resumed.load_state_dict(results[1].state_dict())
    assert resumed.result is not None
    assert resumed.result.lr == long.lr


@pytest.mark.parametrize("epoch", [0, 1])
def test_an_interrupted_test_goes_on_where_it_was(epoch: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    arguments = {**SWEEP, "at_epochs": [epoch]}
    STEPS["left"] = 0
    seed_everything(0)
    whole, model = LRRangeTest(**arguments), Interrupted(lr=1e-3)
    fit(model, whole, max_epochs=3)
    STEPS["left"] = 150
    seed_everything(0)
    cut = LRRangeTest(**arguments)
    with pytest.raises(MisconfigurationException, match="the user's own"):
        fit(Interrupted(lr=1e-3), cut, OnException(tmp_path), max_epochs=3)
    assert len(cut.state_dict()["search"]["bracket"]["told"]) > 1
    assert cut.result is not None
    assert not cut.result.confident
    assert cut.result.reasons[-1] == "its trials did not end"
    STEPS["left"] = 0
    resumed, again = LRRangeTest(**arguments), Interrupted(lr=1e-3)
    caplog.clear()
    with caplog.at_level("INFO"):
        fit(again, resumed, max_epochs=3, ckpt_path=tmp_path / "on_exception.ckpt")
    assert caplog.text.count("LRRangeTest found lr=") == 1  # what the sweep suggested was no result yet
    assert found(resumed).candidates == found(whole).candidates
    if epoch == 0:  # Lightning itself does not run an epoch again that ended at its start
        assert again.losses == model.losses
    assert resumed.result is not None
    assert whole.result is not None
    assert resumed.result.curve.losses.tolist() == whole.result.curve.losses.tolist()
    assert resumed.state_dict()["done_epochs"] == [epoch]


def test_a_test_that_is_done_is_not_run_again(tmp_path: Path) -> None:
    first = LRRangeTest(**SWEEP)
    fit(Classifier(lr=1e-3), first, max_epochs=1).save_checkpoint(tmp_path / "run.ckpt")
    second, model = LRRangeTest(**SWEEP), Classifier(lr=1e-3)
    fit(model, second, ckpt_path=tmp_path / "run.ckpt")
    assert len(model.losses) == 20
    assert first.result is not None
    assert second.result is not None
    assert second.result.lr == first.result.lr
    assert second.result.search == first.result.search
