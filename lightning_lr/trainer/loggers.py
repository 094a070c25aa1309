"""Points and figures for every logger."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeGuard

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from tensorboard.compat.proto.summary_pb2 import Summary

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
