"""Schedules beside Lightning's callbacks: each works as it does alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_lr import CyclicalLR, OneCycleLR, WarmupStableDecayLR
from lightning_lr.callbacks._scheduled_lr import ScheduledLR
from tests.helpers.chosen_device import DEVICE
from tests.helpers.lightning_classes import (
    BackboneFinetuning,
    CSVLogger,
    EarlyStopping,
    LearningRateMonitor,
    MisconfigurationException,
    ModelCheckpoint,
    StochasticWeightAveraging,
    callbacks,
)
from tests.helpers.recorded_steps import RecordingClassifier, first_group_lrs, fit
from tests.helpers.schedule_cases import SaveAt
from tests.helpers.tiny_models import LogsLoss

SCHEDULES: dict[str, Any] = {
    "CyclicalLR": lambda: CyclicalLR(0.01, 0.1, 5, wave="cosine"),
    "OneCycleLR": lambda: OneCycleLR(0.1),
    "WarmupStableDecayLR": lambda: WarmupStableDecayLR(0.1, 5, 10),
}


@pytest.fixture(params=SCHEDULES)
def schedule(request: pytest.FixtureRequest) -> ScheduledLR:
    built: ScheduledLR = SCHEDULES[request.param]()
    return built


@pytest.mark.parametrize("monitor_first", [True, False])
def test_learning_rate_monitor(schedule: ScheduledLR, monitor_first: bool, tmp_path: Path) -> None:
    monitor, model = LearningRateMonitor("step"), RecordingClassifier()
    order = [monitor, schedule] if monitor_first else [schedule, monitor]
    fit(model, *order, logger=CSVLogger(tmp_path), log_every_n_steps=1)
    assert monitor.lrs["lr-SGD"] == first_group_lrs(model) == schedule.preview(40).lr.tolist()


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
def test_model_checkpoint(schedule: ScheduledLR, tmp_path: Path) -> None:
    """A run resumed from one of its checkpoints continues exactly, in either order of the callbacks."""
    checkpoint = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=13, save_top_k=-1)
    fit(RecordingClassifier(), checkpoint, schedule, enable_checkpointing=True)
    resumed = RecordingClassifier()
    again = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=13, save_top_k=-1)
    order = [SCHEDULES[type(schedule).__name__](), again]
    fit(resumed, *order, enable_checkpointing=True, ckpt_path=tmp_path / "step=26.ckpt")
    assert first_group_lrs(resumed) == schedule.preview(40).lr.tolist()[26:]


class RecordingAndLogging(RecordingClassifier, LogsLoss):
    """It is stopped by its own loss."""


def test_early_stopping(schedule: ScheduledLR) -> None:
    model = RecordingAndLogging()
    stop = EarlyStopping("train_loss", mode="max", patience=1, check_on_train_epoch_end=True)
    trainer = fit(model, schedule, stop, max_epochs=5)
    assert trainer.global_step < 100
    assert first_group_lrs(model) == schedule.preview(100).lr.tolist()[: len(model.used)]


class HeadFirst(RecordingClassifier):
    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.head.parameters(), 0.1, momentum=0.9)
        optimizer.register_step_pre_hook(lambda opt, *_: self.record(opt))
        return optimizer


@pytest.mark.parametrize("ours_first", [True, False])
@pytest.mark.parametrize("stop", [33, 40])
def test_backbone_finetuning(schedule: ScheduledLR, ours_first: bool, stop: int, tmp_path: Path) -> None:
    """The backbone is added in the second epoch and keeps the ratio it was added with.

    `BackboneFinetuning` sets another learning rate at the end of each epoch: the ratio holds there, and on resume.
    """

    def build() -> list[Any]:
        unfreeze = BackboneFinetuning(1, backbone_initial_ratio_lr=0.1, should_align=False)
        ours = SCHEDULES[type(schedule).__name__]()
        return [ours, unfreeze] if ours_first else [unfreeze, ours]

    whole = HeadFirst()
    fit(whole, *build(), SaveAt(stop, tmp_path / "stopped.ckpt"), max_epochs=4)
    expected = schedule.preview(80).lr.tolist()
    assert first_group_lrs(whole) == expected
    assert all(len(rates) == 1 for rates in whole.used[:20])
    assert [rates[1] for rates in whole.used[20:]] == pytest.approx([0.1 * lr for lr in expected[20:]])
    resumed = HeadFirst()
    fit(resumed, *build(), ckpt_path=tmp_path / "stopped.ckpt", max_epochs=4)
    assert resumed.used == whole.used[stop:]


def test_a_backbone_added_at_a_learning_rate_of_zero_is_refused() -> None:
    """Its ratio would be 0 / 0, and a tenth of 0 never trains it."""
    unfreeze = BackboneFinetuning(1, backbone_initial_ratio_lr=0.1, should_align=False)
    with pytest.raises(ValueError, match=r"was added with a learning rate of 0 .* give base_lr above 0, or"):
        fit(HeadFirst(), CyclicalLR(0.0, 0.1, 10), unfreeze)


@pytest.mark.skipif(not hasattr(callbacks, "WeightAveraging"), reason="Lightning 2.6 brought it")
@pytest.mark.skipif(DEVICE == "cuda", reason="torch cannot average BatchNorm's counter there")
def test_weight_averaging(schedule: ScheduledLR) -> None:
    """Training is the same with averaging and without. At the end the average replaces the weights."""

    class Weights(callbacks.Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
            self.last = pl_module.head.weight.detach().clone()

    models, watches = [RecordingClassifier(), RecordingClassifier()], [Weights(), Weights()]
    models[1].load_state_dict(models[0].state_dict())
    for model, watch, more in zip(models, watches, ([callbacks.WeightAveraging()], []), strict=True):
        fit(model, *more, SCHEDULES[type(schedule).__name__](), watch)
    assert models[0].used == models[1].used
    assert torch.equal(watches[0].last, watches[1].last)
    assert not torch.equal(models[0].head.weight, models[1].head.weight)


def test_backbone_finetuning_after_a_fit_that_failed(schedule: ScheduledLR) -> None:
    """The failed fit had no backbone, and an error in `on_exception` kept the schedule from cleaning up."""

    class Breaks(callbacks.Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            raise RuntimeError("first")

        def on_exception(self, *_: Any) -> None:
            raise RuntimeError("second")

    with pytest.raises(RuntimeError, match="second"):
        fit(HeadFirst(), Breaks(), schedule, max_epochs=1)
    model = HeadFirst()
    unfreeze = BackboneFinetuning(1, backbone_initial_ratio_lr=0.1, should_align=False)
    fit(model, schedule, unfreeze, max_epochs=4)
    expected = schedule.preview(80).lr.tolist()
    assert [rates[1] for rates in model.used[20:]] == pytest.approx([0.1 * lr for lr in expected[20:]])


def test_stochastic_weight_averaging_is_refused(schedule: ScheduledLR) -> None:
    name = type(schedule).__name__
    with pytest.raises(
        MisconfigurationException, match=f"{name} and StochasticWeightAveraging .* WeightAveraging, which"
    ):
        fit(RecordingClassifier(), schedule, StochasticWeightAveraging(0.1))
