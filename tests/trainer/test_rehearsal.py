"""A run with a rehearsal equals the run without one: models, optimizers, schedulers and the Trainer's settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, lr_scheduler

from tests.helpers.chosen_device import DEVICE
from tests.helpers.lightning_classes import (
    EarlyStopping,
    GradientAccumulationScheduler,
    LearningRateMonitor,
    MixedPrecision,
    StochasticWeightAveraging,
    callbacks,
)
from tests.helpers.rehearsal_check import EXPECTED_WARNINGS, WILD_LRS, Run, assert_no_trace
from tests.helpers.stateful_model import StatefulClassifier, val_loader

pytestmark = [
    *EXPECTED_WARNINGS,
    pytest.mark.filterwarnings("ignore:.*`training_step` returned `None`"),
    pytest.mark.filterwarnings("ignore:Found `dataloader_iter` argument"),
    pytest.mark.filterwarnings("ignore:You are using the `dataloader_iter` step flavor"),
    pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step"),  # the optimizer's step was skipped
    pytest.mark.filterwarnings("ignore:You have turned on `Trainer.detect_anomaly=True."),
    pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled"),
    pytest.mark.filterwarnings("ignore:You are trying to `self.log.* but"),
    pytest.mark.filterwarnings("ignore:Swapping scheduler"),
]


class Manual(StatefulClassifier):
    """Manual optimization: two optimizers and their schedulers, with different numbers of steps."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.disturb()
        first, second = cast(Any, self.optimizers())
        loss, _, _ = self.loss(batch)
        first.zero_grad()
        second.zero_grad()
        self.manual_backward(loss)
        self.clip_gradients(first, 0.5)
        first.step()
        if batch_idx % 2 == 0:
            self.toggle_optimizer(second)
            second.step()
            self.untoggle_optimizer(second)
        step_lr, plateau = cast(Any, self.lr_schedulers())
        step_lr.step()
        plateau.step(float(loss.detach().nan_to_num(1e6)))
        self.log("loss", loss)
        self.log("lr", step_lr.get_last_lr()[0])
        return {"loss": loss.detach()}

    def configure_optimizers(self) -> Any:
        first = Adam(self.net[0].parameters(), lr=0.01)
        second = SGD(self.net[1:].parameters(), lr=0.1, momentum=0.9)
        return [first, second], [lr_scheduler.StepLR(first, 3, 0.5), lr_scheduler.ReduceLROnPlateau(second, patience=1)]


class TakesIterator(StatefulClassifier):
    def training_step(self, dataloader_iter: Any) -> Tensor:  # type: ignore[override]
        self.disturb()
        batch, _, _ = next(dataloader_iter)
        loss, _, _ = self.loss([each.to(self.device) for each in batch])
        self.log("loss", loss, batch_size=4)
        return loss


class ReturnsNone(StatefulClassifier):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        return None if self.count % 3 == 0 else loss


class ReadsTrainer(StatefulClassifier):
    """A training step may compute with attributes of the Trainer, so they are the same in a rehearsal."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        trainer = self.trainer
        read = (
            trainer.max_epochs,
            trainer.max_steps,
            trainer.min_epochs,
            trainer.num_training_batches,
            trainer.estimated_stepping_batches,
            trainer.accumulate_grad_batches,
            len(trainer.loggers),
        )
        assert read == (2, -1, 0, 6, 4, 3, 2)
        assert trainer.max_epochs is not None
        return super().training_step(batch, batch_idx) * (1 + self.current_epoch / trainer.max_epochs)


class StopsTrainer(StatefulClassifier):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        self.trainer.should_stop = not loss < 100
        return loss


class SkipsRestOfEpoch(StatefulClassifier):
    def on_train_batch_start(self, batch: Any, batch_idx: int) -> int | None:
        return -1 if batch_idx == 4 else None


class HasHooks(StatefulClassifier):
    """Has hooks that a training step depends on, and notes their calls."""

    def on_train_start(self) -> None:
        self.marks = ["start"]

    def on_train_epoch_start(self) -> None:
        self.marks.append("epoch start")
        cast(nn.Dropout, self.net[2]).p = 0.1 + 0.1 * self.current_epoch

    def on_train_batch_end(self, *args: Any) -> None:
        self.marks.append("batch end")

    def on_train_epoch_end(self) -> None:
        self.marks.append("epoch end")
        self.log("count", float(self.count))

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        self.marks.append("step")
        super().optimizer_step(*args, **kwargs)

    def lr_scheduler_step(self, *args: Any) -> None:
        self.marks.append("scheduler step")
        super().lr_scheduler_step(*args)


def amp(init_scale: float) -> MixedPrecision:
    scaler = torch.amp.GradScaler(DEVICE, init_scale=init_scale, growth_interval=3)
    return MixedPrecision("16-mixed", DEVICE, scaler=scaler)


def average(averaged: Tensor, current: Tensor, updates: Any) -> Tensor:
    return 0.9 * averaged + 0.1 * current


OPTIMIZERS = ("sgd", "momentum", "adam", "adamw, tensor lr", "fused", "lbfgs")
SCHEDULERS = ("step", "one cycle", "epoch", "sequential", "plateau", "plateau, step")
LATER = {"at_epochs": (0, 1)}
SETTINGS: dict[str, Run] = {
    **{f"optimizer {name}": Run(lambda name=name: StatefulClassifier(name), rehearse=LATER) for name in OPTIMIZERS},  # type: ignore[misc]
    **{
        f"scheduler {name}": Run(lambda name=name: StatefulClassifier("adam", name), val=val_loader)  # type: ignore[misc]
        for name in SCHEDULERS
    },
    "manual optimization": Run(Manual, rehearse=LATER),
    "manual optimization with AMP": Run(
        Manual, trainer=lambda: {"plugins": [amp(2.0**120)]}, rehearse={"lrs": WILD_LRS[:4]}
    ),
    "dataloader_iter": Run(TakesIterator, rehearse=LATER),
    "training step returns None": Run(ReturnsNone, rehearse=LATER),
    "training step reads the Trainer": Run(ReadsTrainer, trainer=lambda: {"accumulate_grad_batches": 3}),
    "training step stops the Trainer": Run(StopsTrainer),
    "hook skips the rest of an epoch": Run(SkipsRestOfEpoch, rehearse=LATER),
    "hooks": Run(lambda: HasHooks("adam", "step"), val=val_loader, rehearse=LATER),
    "metric of the training step": Run(rehearse={**LATER, "monitor": "acc_step", "steps_per_lr": 2}),
    "metric of validation": Run(
        val=lambda: [val_loader(), val_loader(12)],
        rehearse={**LATER, "monitor": "val_acc/dataloader_idx_1", "steps_per_lr": 2},
    ),
    "several rehearsals": Run(rehearse={"at_epochs": (0, 1), "times": 2, "rewinds": 1}),
    "kept on the host": Run(rehearse={"at_epochs": (0, 1), "snapshot_device": "cpu"}),
    "one epoch": Run(trainer=lambda: {"max_epochs": 1}),
    "max_steps": Run(trainer=lambda: {"max_epochs": -1, "max_steps": 8}, rehearse=LATER),
    "accumulation": Run(trainer=lambda: {"accumulate_grad_batches": 4}, rehearse=LATER),
    "accumulation scheduler": Run(
        trainer=lambda: {"max_epochs": 3, "callbacks": [GradientAccumulationScheduler({0: 1, 1: 4, 2: 2})]},
        rehearse={"at_epochs": (0, 1, 2)},
    ),
    "stochastic weight averaging": Run(
        trainer=lambda: {"max_epochs": 3, "callbacks": [StochasticWeightAveraging(0.01, 1)]}
    ),
    "callbacks and checkpoints": Run(
        lambda: StatefulClassifier("adam", "step"),
        trainer=lambda: {
            "enable_checkpointing": True,
            "callbacks": [EarlyStopping("mean_loss"), LearningRateMonitor()],
        },
    ),
    "clipping": Run(trainer=lambda: {"gradient_clip_val": 0.5}),
    "bf16": Run(trainer=lambda: {"precision": "bf16-mixed"}),
    "64 bit": Run(trainer=lambda: {"precision": "64-true"}),
    "AMP": Run(trainer=lambda: {"plugins": [amp(2.0**14)]}, rehearse=LATER),
    "AMP with overflows": Run(
        lambda: StatefulClassifier("adam"), trainer=lambda: {"plugins": [amp(2.0**120)]}, rehearse=LATER
    ),
    "AMP, fused": Run(lambda: StatefulClassifier("fused"), trainer=lambda: {"plugins": [amp(2.0**120)]}),
    "anomaly detection": Run(trainer=lambda: {"detect_anomaly": True}),
    "profiler": Run(trainer=lambda: {"profiler": "simple"}),
    "no logger": Run(trainer=lambda: {"logger": False}),
    "barebones": Run(trainer=lambda: {"barebones": True, "logger": False, "log_every_n_steps": 0}),
}


if hasattr(callbacks, "WeightAveraging"):  # from Lightning 2.6 on
    SETTINGS["weight averaging"] = Run(
        val=val_loader,
        trainer=lambda: {"callbacks": [callbacks.WeightAveraging(avg_fn=average)]},
        rehearse=LATER,
    )


@pytest.mark.parametrize("setting", SETTINGS)
def test_leaves_no_trace(setting: str, tmp_path: Path) -> None:
    rehearse = assert_no_trace(tmp_path, SETTINGS[setting])
    if "monitor" not in rehearse.sweep and len(rehearse.lrs) == len(WILD_LRS):
        assert not any(values[-1] < 1e6 for values in rehearse.values), "the sweep was not wild"
    for first in range(0, len(rehearse.values), rehearse.rewinds + 1):
        assert str(rehearse.values[first]) == str(rehearse.values[first + rehearse.rewinds])
