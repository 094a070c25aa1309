"""Points and figures for every logger, and the trace of learning rates and losses during training."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeGuard

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from tensorboard.compat.proto.summary_pb2 import Summary
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from lightning_lr._step_loss import StepLoss
from lightning_lr.param_groups import group_names, optimizer_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def current_step(trainer: Trainer) -> int:
    """The step at which Lightning itself logs: batches that ended in an optimizer step."""
    return trainer.fit_loop.epoch_loop._batches_that_stepped


def log_metrics(trainer: Trainer, metrics: Mapping[str, float], step: int | None = None) -> None:
    """One point to every logger, at Lightning's own step unless told.

    Values that belong together go in one call: TensorBoard samples the points of a tag, and keeps the same steps for
    tags that are logged together. It also gets them as one event, which is several times faster than one each.
    """
    step = current_step(trainer) if step is None else step
    for logger in trainer.loggers:
        writer = logger.experiment.file_writer if _is_plain_tensorboard(logger) and trainer.is_global_zero else None
        if writer is None:
            logger.log_metrics(dict(metrics), step=step)
        else:
            values = [Summary.Value(tag=tag, simple_value=value) for tag, value in metrics.items()]
            writer.add_summary(Summary(value=values), step)


def _is_plain_tensorboard(logger: Logger) -> TypeGuard[TensorBoardLogger]:
    """Whether tags are written as they are: not by a subclass, which may do more, and without a prefix."""
    return type(logger) is TensorBoardLogger and not logger._prefix


def tensorboard_writers(trainer: Trainer) -> list[Any]:
    """The SummaryWriters of TensorBoard loggers; none on ranks other than 0."""
    boards = [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
    return [board.experiment for board in boards] if trainer.is_global_zero else []


def log_figure(trainer: Trainer, tag: str, figure: Figure, step: int) -> None:
    """A figure to TensorBoard. ``add_figure`` would close it by pyplot, of which it knows nothing."""
    for writer in tensorboard_writers(trainer):
        writer.add_figure(tag, figure, step, close=False)


def log_loss_vs_lr(trainer: Trainer, tag: str, lrs: Iterable[float], losses: Iterable[float]) -> None:
    """A chart of loss against learning rate in stock TensorBoard: 1000 log10 lr stands where the step does.

    All runs overlaid, on a log axis: -3000 is 1e-3. Points that fall on the step of one before are left out, since
    steps of a tag must grow.
    """
    points: dict[int, float] = {}
    for lr, loss in zip(lrs, losses, strict=True):
        if math.isfinite(loss):
            points.setdefault(round(1000 * math.log10(lr)), loss)
    for writer in tensorboard_writers(trainer):
        for step, loss in points.items():
            writer.add_scalar(tag, loss, step)


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

    def _read(self, optimizer: Optimizer, args: object, kwargs: object) -> None:  # noqa: ARG002
        if self._is_due():
            name, groups = self._names[optimizer], optimizer.param_groups
            keys = [f"lr/{name}"] if len(groups) == 1 else [f"lr/{name}/{each}" for each in group_names(optimizer)]
            for key, group in zip(keys, groups, strict=True):
                lr = group["lr"]
                self._used[key] = lr.detach().clone() if isinstance(lr, Tensor) else lr
