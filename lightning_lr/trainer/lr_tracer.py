"""The trace of learning rates and losses during training."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from lightning.pytorch import Callback, Trainer
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from lightning_lr.optimizers.param_groups import group_names, optimizer_names
from lightning_lr.trainer.loggers import log_metrics
from lightning_lr.trainer.step_loss import StepLoss

_LONGEST_WAIT = 1.0  # seconds that a point is held back


class LRTracer:
    """Logs the learning rate of every group and the loss, as they were in an optimizer step.

    Held by each of our callbacks; the first of them in the Trainer logs, and beside it what ``_traced_values`` of the
    others gives. It acts only every ``log_every_n_steps``: on
    other steps a comparison of two integers is all it costs. Points are handed to the loggers together, within a
    second, so that neither a logger nor the device is waited for at every step.
    """

    def __init__(self) -> None:
        self._trainer: Trainer | None = None  # None: another one logs, or training is over
        self._loss = StepLoss()
        self._used: dict[str, float | Tensor] = {}
        self._points: list[tuple[int, dict[str, float | Tensor]]] = []
        self._handles: list[RemovableHandle] = []
        self._names: dict[Optimizer, str] = {}
        self._values: list[Callable[[], dict[str, float]]] = []

    def start(self, trainer: Trainer, owner: Callback) -> None:
        """To be called in ``on_train_start``, before the owner puts step hooks of its own on the optimizers: this one
        reads the learning rate right behind the step, before anything sets the next."""
        self.stop()
        callbacks = vars(trainer)["callbacks"]
        tracers = [c for c in callbacks if isinstance(getattr(c, "_tracer", None), LRTracer)]
        every: int = vars(trainer)["log_every_n_steps"]
        if not trainer.loggers or every == 0 or tracers[0] is not owner:
            return
        self._trainer = trainer
        self._epoch_loop, self._every = trainer.fit_loop.epoch_loop, every
        self._values = [c._traced_values for c in callbacks if hasattr(c, "_traced_values")]
        self._names = dict(zip(trainer.optimizers, optimizer_names(trainer.optimizers), strict=True))
        self._handles = [optimizer.register_step_post_hook(self._read) for optimizer in trainer.optimizers]

    def stop(self) -> None:
        """To be called when training ends, however it does."""
        # after an error of the device nothing can be read from it, and that error is the one to be seen
        with suppress(RuntimeError):
            self._flush()
        for handle in self._handles:
            handle.remove()
        self.__init__()  # type: ignore[misc]

    def batch_end(self, outputs: Any) -> None:
        """To be called in ``on_train_batch_end``."""
        if self._trainer is None or not self._is_due():
            return
        self._loss.add(outputs)
        if self._used:
            point, self._used = self._used, {}
            for values in self._values:
                point.update(values())
            loss = self._loss.take(self._trainer)
            if loss is not None:
                point["lr/loss"] = loss
            if not self._points:
                self._oldest = time.monotonic()
            self._points.append((self._epoch_loop._batches_that_stepped, point))
            if time.monotonic() - self._oldest > _LONGEST_WAIT:
                self._flush()

    def _flush(self) -> None:
        points, self._points = self._points, []
        for step, point in points:
            values = {key: float(value) for key, value in point.items()}
            if self._trainer is not None:
                log_metrics(self._trainer, {key: v for key, v in values.items() if math.isfinite(v)}, step)

    def _is_due(self) -> bool:
        """Lightning's own ``should_update_logs``, without its way to the loop."""
        return (self._epoch_loop._batches_that_stepped + 1) % self._every == 0

    def _read(self, optimizer: Optimizer, args: object, kwargs: object) -> None:
        if self._is_due():
            name, groups = self._names[optimizer], optimizer.param_groups
            keys = [f"lr/{name}"] if len(groups) == 1 else [f"lr/{name}/{each}" for each in group_names(optimizer)]
            for key, group in zip(keys, groups, strict=True):
                lr = group["lr"]
                self._used[key] = lr.detach().clone() if isinstance(lr, Tensor) else lr
