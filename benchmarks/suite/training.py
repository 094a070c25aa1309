"""Trains a setting with a real Trainer, with or without a schedule and with callbacks that adapt the learning rate."""

from __future__ import annotations

import io
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

from benchmarks.suite.finders import SettingModule
from benchmarks.suite.scheduled import BASE_PER_PEAK, Schedule, factor, step_size
from benchmarks.suite.setting import Batch, Setting
from benchmarks.suite.truth import FINAL_STEPS
from lightning_lr import CyclicalLR


class Ended(NamedTuple):
    """How a training ended.

    Attributes:
        loss: mean of the last training losses, infinite if it diverged.
        validation: loss on the validation batch, NaN if there is none.
    """

    loss: float
    validation: float


class _ScheduledModule(SettingModule):
    """A setting with a scheduler that goes down to zero, unless the schedule is a callback or there is none."""

    def __init__(self, setting: Setting, lr: float, schedule: Schedule, steps: int) -> None:
        super().__init__(setting)
        self.lr, self.schedule, self.steps = lr, schedule, steps

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        loss = super().training_step(batch, batch_idx)
        if not self.automatic_optimization:
            schedulers: Any = self.lr_schedulers() or []
            for scheduler in schedulers if isinstance(schedulers, list) else [schedulers]:
                scheduler.step()
        return loss

    def configure_optimizers(self) -> Any:
        optimizers = super().configure_optimizers()
        if self.schedule in ("alone", "triangular"):
            return optimizers
        schedulers = [LambdaLR(each, lambda step: factor(self.schedule, step, self.steps)) for each in optimizers]
        return optimizers, [{"scheduler": scheduler, "interval": "step"} for scheduler in schedulers]


class _Losses(Callback):
    """The training loss of every step. Steps of a range test are not among them."""

    def __init__(self) -> None:
        self.values: list[torch.Tensor] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        self.values.append(outputs["loss"].detach())

    def final(self) -> float:
        loss = torch.stack(self.values[-FINAL_STEPS:]).double().mean().item()
        return loss if torch.tensor(loss).isfinite() else float("inf")


@contextmanager
def _errors_only() -> Iterator[None]:
    """Lightning tells of errors alone meanwhile."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def train(
    setting: Setting,
    seed: int,
    lr: float,
    schedule: Schedule,
    steps: int,
    callbacks: Callable[[], list[Callback]] = list,
    finds_lr: bool = False,
) -> Ended:
    """Train a setting. The seed fixes the weights and the batches.

    Args:
        setting: what is trained, with the optimizers that train it.
        seed: of the weights and of the batches.
        lr: learning rate, or the peak of the schedule.
        schedule: what moves the learning rate.
        steps: optimizer steps of the run.
        callbacks: makes those that adapt the learning rate.
        finds_lr: whether one of them finds the learning rate, and so the bounds of triangular cycles.
    """
    torch.manual_seed(1000 + seed)
    module, losses = _ScheduledModule(setting, lr, schedule, steps), _Losses()
    batches: Any = setting.batches(steps, seed)  # a list is a dataset
    cycles: list[Callback] = []
    if schedule == "triangular":
        base_lr, max_lr = (None, None) if finds_lr else (lr * BASE_PER_PEAK, lr)
        cycles.append(CyclicalLR(base_lr, max_lr, step_size=step_size(steps)))
    quiet: dict[str, Any] = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), _errors_only():
        warnings.simplefilter("ignore")
        trainer = Trainer(
            accelerator="cpu",
            max_epochs=1,  # max_steps would count the steps of all optimizers together
            gradient_clip_val=setting.clip,
            callbacks=[*cycles, *callbacks(), losses],
            **quiet,
        )
        try:
            trainer.fit(module, DataLoader(batches, batch_size=None))
        except RuntimeError as error:  # a rule that gives up
            print(f"{setting.name}, lr={lr:g}, {schedule}: {error}", file=sys.stderr, flush=True)
            return Ended(float("inf"), float("nan"))
    return Ended(losses.final(), setting.validation_loss(module.model))
