"""`replace_scheduler=True`: a scheduler that the module insists on does not step, and nothing else changes."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler as schedulers

from lightning_lr import CyclicalLR, HypergradientLR, LRRangeTest, OneCycleLR, WarmupStableDecayLR
from lightning_lr.callbacks._scheduled_lr import ScheduledLR
from tests.helpers.lightning_classes import (
    Callback,
    CSVLogger,
    LearningRateMonitor,
    MisconfigurationException,
    Trainer,
)
from tests.helpers.recorded_steps import RecordingClassifier, TwoOptimizers, fit
from tests.helpers.schedule_cases import SaveAt
from tests.helpers.tiny_models import loader

CALLBACKS: dict[str, Callable[..., ScheduledLR]] = {
    "CyclicalLR": lambda **kwargs: CyclicalLR(0.01, 0.1, 7, **kwargs),
    "OneCycleLR": lambda **kwargs: OneCycleLR(0.1, **kwargs),
    "WarmupStableDecayLR": lambda **kwargs: WarmupStableDecayLR(0.1, 5, 10, **kwargs),
}
# name -> configuration for Lightning, without the optimizer
FORCED: dict[str, Callable[[Any], dict[str, Any]]] = {
    "StepLR that never moves": lambda o: {"scheduler": schedulers.StepLR(o, 10**7, 0.5)},
    "StepLR": lambda o: {"scheduler": schedulers.StepLR(o, 3, 0.5), "interval": "step"},
    "warm-up, every second batch": lambda o: {
        "scheduler": schedulers.LinearLR(o, 0.1, total_iters=9),
        "interval": "step",
        "frequency": 2,
    },
    "SequentialLR": lambda o: {
        "scheduler": schedulers.SequentialLR(o, [schedulers.ConstantLR(o), schedulers.ExponentialLR(o, 0.5)], [4]),
        "interval": "step",
    },
    "ReduceLROnPlateau": lambda o: {
        "scheduler": schedulers.ReduceLROnPlateau(o, patience=0),
        "monitor": "a metric that nobody logs",
    },
}


class Plain(RecordingClassifier):
    """With two groups, always the same weights, and no dropout, whose random state is not in checkpoints."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(lr=0.2, backbone_ratio=0.1)
        self.backbone[3] = torch.nn.Identity()


class Forced(Plain):
    """Returns a scheduler."""

    def __init__(self, forced: str = "StepLR") -> None:
        super().__init__()
        self.forced = forced

    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        return {"optimizer": optimizer, "lr_scheduler": FORCED[self.forced](optimizer)}


class RaisesAt(Callback):
    """An error of the user at a batch."""

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == 9:
            raise ZeroDivisionError


def weights(model: torch.nn.Module) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


def assert_same_training(model: RecordingClassifier, expected: RecordingClassifier) -> None:
    assert model.used == expected.used
    assert model.losses == expected.losses
    for actual, wanted in zip(weights(model), weights(expected), strict=True):
        assert torch.equal(actual, wanted)


@pytest.mark.parametrize("forced", FORCED)
@pytest.mark.parametrize("name", CALLBACKS)
def test_trains_as_without_a_scheduler(name: str, forced: str) -> None:
    expected = Plain()
    fit(expected, CALLBACKS[name]())
    model = Forced(forced)
    trainer = fit(model, CALLBACKS[name](replace_scheduler=True))
    assert_same_training(model, expected)
    frequencies = [config.frequency for config in trainer.lr_scheduler_configs]
    assert frequencies == [2 if "second" in forced else 1]
    if "Plateau" not in forced:
        assert trainer.lr_scheduler_configs[0].scheduler.last_epoch == 0


def test_says_once_what_it_replaces(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        fit(Forced(), CyclicalLR(0.01, 0.1, replace_scheduler=True), max_epochs=1)
    told = [record.message for record in caplog.records if "StepLR" in record.message]
    assert told == ["CyclicalLR replaces StepLR, which will not step in this fit."]


def test_is_silent_without_a_scheduler(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        fit(RecordingClassifier(), CyclicalLR(0.01, 0.1, replace_scheduler=True), max_epochs=1)
    assert "replaces" not in caplog.text


@pytest.mark.parametrize("name", CALLBACKS)
def test_the_error_names_the_way_out(name: str) -> None:
    expected = (
        f"{name} and StepLR would both set the learning rate: leave one of them out, or give"
        rf" {name}\(replace_scheduler=True\)\."
    )
    with pytest.raises(MisconfigurationException, match=expected):
        fit(Forced(), CALLBACKS[name]())


def test_must_be_a_bool() -> None:
    with pytest.raises(ValueError, match="replace_scheduler"):
        CyclicalLR(0.01, 0.1, replace_scheduler="yes")  # type: ignore[arg-type]


def test_is_undone_after_an_exception() -> None:
    callback, model = CyclicalLR(0.01, 0.1, replace_scheduler=True), Forced()
    keep: list[Trainer] = []

    class Keep(RaisesAt):
        def on_fit_start(self, trainer: Trainer, *_: Any) -> None:
            keep.append(trainer)

    with pytest.raises(ZeroDivisionError):
        fit(model, callback, Keep())
    assert [config.frequency for config in keep[0].lr_scheduler_configs] == [1]
    fit(model, max_epochs=1)  # the same module without the callback
    assert model.used[-1][-1] < 0.2


def test_is_undone_after_a_fit_without_a_step() -> None:
    trainer = fit(Forced(), CyclicalLR(0.01, 0.1, replace_scheduler=True), max_epochs=0)
    assert [config.frequency for config in trainer.lr_scheduler_configs] == [1]


class TestResume:
    def test_equals_an_uninterrupted_run(self, tmp_path: Path) -> None:
        file = tmp_path / "20.ckpt"
        whole = Forced()
        fit(whole, CyclicalLR(0.01, 0.1, 7, replace_scheduler=True), SaveAt(20, file))
        resumed = Forced()
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*resumed with changed arguments.*")
            fit(resumed, CyclicalLR(0.01, 0.1, 7, replace_scheduler=True), ckpt_path=file)
        assert resumed.used == whole.used[20:]
        assert resumed.losses == whole.losses[20:]
        assert all(torch.equal(a, b) for a, b in zip(weights(resumed), weights(whole), strict=True))

    @pytest.mark.parametrize("forced", ["StepLR", "warm-up, every second batch", "SequentialLR"])
    def test_of_a_run_that_had_only_the_scheduler(self, forced: str, tmp_path: Path) -> None:
        file = tmp_path / "20.ckpt"
        fit(Forced(forced), SaveAt(20, file))
        resumed = Forced(forced)
        trainer = fit(resumed, CyclicalLR(0.01, 0.1, 7, replace_scheduler=True), ckpt_path=file)
        highest = CyclicalLR(0.01, 0.1, 7).preview(20).lr
        assert [rates[1] for rates in resumed.used] == pytest.approx(list(highest))
        assert [rates[0] for rates in resumed.used] == pytest.approx(list(0.1 * highest))  # the ratio at the beginning
        assert trainer.lr_scheduler_configs[0].scheduler.last_epoch == (10 if "second" in forced else 20)

    def test_of_a_checkpoint_from_before_this_argument(self, tmp_path: Path) -> None:
        file = tmp_path / "20.ckpt"
        whole = RecordingClassifier()
        fit(whole, CyclicalLR(0.01, 0.1, 7), SaveAt(20, file))
        checkpoint = torch.load(file, weights_only=True)
        del checkpoint["callbacks"]["CyclicalLR"]["arguments"]["replace_scheduler"]
        torch.save(checkpoint, file)
        resumed = RecordingClassifier()
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*resumed with changed arguments.*")
            fit(resumed, CyclicalLR(0.01, 0.1, 7, replace_scheduler=True), ckpt_path=file)
        assert resumed.used == whole.used[20:]

    @pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
    def test_the_scheduler_goes_on_in_a_run_without_the_callback(self, tmp_path: Path) -> None:
        file = tmp_path / "20.ckpt"
        fit(Forced(), CyclicalLR(0.01, 0.1, 7, replace_scheduler=True), SaveAt(20, file))
        trainer = fit(Forced(), ckpt_path=file)
        assert trainer.lr_scheduler_configs[0].scheduler.last_epoch == 20


class TwoWithScheduler(TwoOptimizers):
    """The second optimizer has a scheduler."""

    def configure_optimizers(self) -> Any:
        first, second = super().configure_optimizers()
        return [first, second], [schedulers.StepLR(second, 3)]


class TestTwoOptimizers:
    def test_manual_optimization_is_refused(self) -> None:
        expected = (
            r"CyclicalLR\(replace_scheduler=True\) cannot replace StepLR in manual optimization, where training_step"
            r" steps it: leave one of them out\."
        )
        with pytest.raises(MisconfigurationException, match=expected):
            fit(TwoWithScheduler(), CyclicalLR(0.01, 0.1, replace_scheduler=True))

    def test_the_error_names_no_way_out_that_does_not_exist(self) -> None:
        with pytest.raises(MisconfigurationException, match=r"leave one of them out\.$"):
            fit(TwoWithScheduler(), CyclicalLR(0.01, 0.1))

    def test_the_scheduler_of_another_optimizer_stays(self) -> None:
        model = TwoWithScheduler()
        frequencies: list[list[int]] = []

        class Look(Callback):
            def on_train_start(self, trainer: Trainer, *_: Any) -> None:
                frequencies.append([config.frequency for config in trainer.lr_scheduler_configs])

        fit(model, CyclicalLR(0.01, 0.1, 7, optimizer=0, replace_scheduler=True), Look())
        assert frequencies == [[1]]
        assert model.used[0] == pytest.approx(list(CyclicalLR(0.01, 0.1, 7).preview(40).lr))
        assert model.used[1] == [0.05] * 40


class TestBesideOthers:
    def test_learning_rate_monitor(self, tmp_path: Path) -> None:
        logger = CSVLogger(tmp_path)
        monitor = LearningRateMonitor("step")
        fit(
            Forced("StepLR that never moves"),
            CyclicalLR(0.01, 0.1, 7, replace_scheduler=True),
            LearningRateMonitor(),
            logger=logger,
            log_every_n_steps=1,
        )
        model = Forced()
        trainer = fit(
            model,
            CyclicalLR(0.01, 0.1, 7, replace_scheduler=True),
            monitor,
            logger=CSVLogger(tmp_path / "step"),
            log_every_n_steps=1,
        )
        assert trainer.callback_metrics["lr-SGD/pg2"].item() == pytest.approx(model.used[-1][1])

    @pytest.mark.filterwarnings("ignore:LRRangeTest is not confident")
    @pytest.mark.parametrize("forced", ["StepLR", "warm-up, every second batch"])
    def test_range_test_gives_bounds_and_leaves_the_scheduler(
        self, forced: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        def callbacks(**kwargs: Any) -> list[Callback]:
            return [LRRangeTest(num_steps=60, verify=False), CyclicalLR(step_size=7, **kwargs)]

        expected = Plain()
        fit(expected, *callbacks())
        model = Forced(forced)
        with caplog.at_level(logging.INFO):
            trainer = fit(model, *callbacks(replace_scheduler=True))
        assert_same_training(model, expected)
        told = next(record.message for record in caplog.records if "LRRangeTest found" in record.message)
        assert "Set: CyclicalLR, " in told
        assert "StepLR" not in told
        assert trainer.lr_scheduler_configs[0].scheduler.base_lrs == pytest.approx([0.02, 0.2])
        assert trainer.lr_scheduler_configs[0].frequency == (2 if "second" in forced else 1)

    @pytest.mark.parametrize("hypergradient_first", [True, False])
    def test_hypergradient(self, hypergradient_first: bool, tmp_path: Path) -> None:
        def callbacks(**kwargs: Any) -> list[Callback]:
            both: list[Callback] = [HypergradientLR(), CyclicalLR(0.01, 0.1, 7, **kwargs)]
            return both if hypergradient_first else both[::-1]

        file, plain_file = tmp_path / "40.ckpt", tmp_path / "plain.ckpt"
        expected, model = Plain(), Forced()
        fit(expected, *callbacks(), SaveAt(40, plain_file), data=loader(40))
        fit(model, *callbacks(replace_scheduler=True), SaveAt(40, file), data=loader(40))
        assert_same_training(model, expected)
        resumed_plain, resumed = Plain(), Forced()
        fit(resumed_plain, *callbacks(), data=loader(40), ckpt_path=plain_file)
        fit(resumed, *callbacks(replace_scheduler=True), data=loader(40), ckpt_path=file)
        assert_same_training(resumed, resumed_plain)
