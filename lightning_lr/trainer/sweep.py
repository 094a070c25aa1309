"""What a rehearsal runs: a list of learning rates, one after the other, and the signal recorded at each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from lightning_lr.optimizers.param_groups import lr_ratios, set_lr
from lightning_lr.trainer.rehearsal import Rehearsal
from lightning_lr.trainer.step_loss import StepLoss

Stop = Callable[[Sequence[float]], bool]
Progress = Callable[[float, float], None]

# Far more than any accumulation window: a model that never steps must not be trained for ever.
_MOST_IDLE_BATCHES = 1000
# Skipped steps in a row before AMP is taken to have lost the model: each halves the loss scale.
_MOST_SKIPPED_STEPS = 20


class Sweep(Callback):
    """Trains with each learning rate in turn and records the training loss or a logged metric.

    A point is one optimizer step (in manual optimization: one batch in which an optimizer stepped) with the loss
    averaged over its micro-batches and over ranks. With ``monitor`` a point is ``steps_per_lr`` such steps, after
    which the metric is read: from the training step's own logs if it is there, else from the validation loop.
    A step that AMP skipped is not a point: its learning rate is tried again. After the first point, a long row of
    skipped steps is a divergence, recorded as NaN.

    Args:
        lrs: one learning rate a point, for the parameter group with the highest learning rate. The other groups, of
            all optimizers, keep their ratio to it.
        monitor: a key that the module logs, None for the training loss.
        steps_per_lr: optimizer steps a point; more than 1 only with ``monitor``.
        eval_batches: batches of each validation loader at most.
        stop: given the values so far, whether to end here. It is asked in blocks, so that the device is not waited
            for at every step, and always for every point in its turn: the result does not depend on the blocks.
        progress: told the learning rate of each step and the latest value that was read.
        owner: name in error messages.
    """

    def __init__(
        self,
        lrs: Sequence[float],
        *,
        owner: str,
        monitor: str | None = None,
        steps_per_lr: int = 1,
        eval_batches: int = 1,
        stop: Stop = lambda values: False,  # noqa: ARG005
        progress: Progress = lambda lr, value: None,  # noqa: ARG005
    ) -> None:
        self._lrs = list(lrs)
        self._owner = owner
        self._monitor = monitor
        self._steps_per_lr = steps_per_lr
        self._eval_batches = eval_batches
        self._stop = stop
        self._progress = progress
        self._block = max(1, len(self._lrs) // 20)

    def run(self, trainer: Trainer, rehearsal: Rehearsal) -> list[float]:
        """Run it in a rehearsal, from its current state. Values may be fewer than learning rates after a stop.

        Raises:
            MisconfigurationException: if the data ended early, or there was no loss or no such metric to record.
        """
        self._values: list[float] = []
        self._is_over = False
        self._unread: list[Tensor] = []  # losses of points, on the device
        self._loss = StepLoss()
        self._has_stepped = False
        self.steps_run = 0  # optimizer steps, those behind the end of the sweep included
        self._steps = 0  # since the last point
        self._idle = 0  # batches since the last optimizer step that counts
        self._skipped = 0  # optimizer steps that AMP skipped since the last one that it did not
        self._is_validated: bool | None = None  # whether the metric comes from validation: known at the first point
        self._awaits_validation = False
        self._ratios = lr_ratios(trainer.optimizers)
        handles = [optimizer.register_step_post_hook(self._note_step) for optimizer in trainer.optimizers]
        rehearsal.train(
            self,
            is_over=lambda: self._is_over,
            validate_when=lambda: self._awaits_validation,
            eval_batches=self._eval_batches if self._monitor else None,
        )
        for handle in handles:
            handle.remove()
        self._read_losses(trainer)
        if not self._is_over:
            raise MisconfigurationException(
                f"{self._owner} needs {len(self._lrs) * self._steps_per_lr} optimizer steps, but the training data"
                f" ended after {len(self._values) * self._steps_per_lr}: lower num_steps."
            )
        return self._values

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self._awaits_validation:
            raise MisconfigurationException(
                f"{self._owner}(monitor={self._monitor!r}): the training step does not log it, and there is no"
                " validation data to evaluate it on: log it, or give a validation loader."
            )
        self._idle += 1
        if self._idle > _MOST_IDLE_BATCHES:
            raise MisconfigurationException(
                f"{self._owner}: in {_MOST_IDLE_BATCHES} batches there was no optimizer step with a loss to record:"
                " return the loss from training_step and step the optimizer."
            )
        self._set_lrs()

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        if not loss.requires_grad:
            raise MisconfigurationException(
                f"{self._owner}: the loss of training_step has no gradient (requires_grad is False): return a loss that"
                " depends on a trainable parameter and is not detached."
            )

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        self._set_lrs()  # once more: in manual optimization the training step may have moved a scheduler
        self._skipped += 1  # until it is known that it was not

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._loss.add(outputs)
        if self._skipped > _MOST_SKIPPED_STEPS and self._points() > 0:
            self._read_losses(trainer)
            self._record(math.nan)
        if not self._has_stepped:
            return
        self._has_stepped = False
        self.steps_run += 1
        loss = self._loss.take(trainer)
        if self._monitor is not None:
            self._idle = 0
            self._steps += 1
            if self._steps == self._steps_per_lr:
                self._read_metric(trainer)
        elif loss is not None:
            self._unread.append(loss)
            self._idle = 0
            self._report()
            if len(self._unread) == self._block or self._points() == len(self._lrs):
                self._read_losses(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._awaits_validation = False
        if self._monitor not in trainer.callback_metrics:
            raise MisconfigurationException(
                f"{self._owner}(monitor={self._monitor!r}): the module does not log this key. It logs:"
                f" {', '.join(sorted(trainer.callback_metrics)) or 'nothing'}."
            )
        self._record_metric(trainer)

    def _note_step(self, optimizer: Optimizer, args: object, kwargs: object) -> None:
        # a fused optimizer under a GradScaler is called even when the step is skipped
        found_inf = getattr(optimizer, "found_inf", None)
        if found_inf is None or not bool(found_inf):
            self._has_stepped, self._skipped = True, 0

    def _points(self) -> int:
        return len(self._values) + len(self._unread)

    def _set_lrs(self) -> None:
        lr = self._lrs[self._points()]
        for group, ratio in self._ratios:
            set_lr(group, lr * ratio)

    def _report(self) -> None:
        self._progress(self._lrs[self._points() - 1], self._values[-1] if self._values else math.nan)

    def _read_losses(self, trainer: Trainer) -> None:
        """Bring the losses of a block to the host, averaged over ranks."""
        if self._unread:
            losses, self._unread = torch.stack(self._unread), []
            for value in trainer.strategy.reduce(losses, reduce_op="mean").tolist():
                self._record(value)

    def _read_metric(self, trainer: Trainer) -> None:
        if self._is_validated is None:
            self._is_validated = self._monitor not in trainer.callback_metrics
        if self._is_validated:
            self._awaits_validation = True
        else:
            self._record_metric(trainer)

    def _record_metric(self, trainer: Trainer) -> None:
        assert self._monitor is not None
        value = trainer.callback_metrics[self._monitor].detach().float().to(trainer.strategy.root_device)
        self._record(trainer.strategy.reduce(value, reduce_op="mean").item())
        self._steps = 0
        self._report()

    def _record(self, value: float) -> None:
        if not self._is_over:  # points of a block that lie behind the end are dropped
            self._values.append(value)
            self._is_over = len(self._values) == len(self._lrs) or not math.isfinite(value) or self._stop(self._values)
