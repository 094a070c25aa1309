"""Points, records and figures to the loggers of a Trainer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Trainer
from tensorboard.compat.proto.summary_pb2 import Summary

from lightning_lr.trainer.lightning_packages import either
from lightning_lr_tensorboard.record import summary_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TENSORBOARD_LOGGERS = either("loggers.TensorBoardLogger")

# TensorBoard's x axis is the integer step. 1000 steps per decade keep learning rates apart that differ by 0.3 %.
_STEPS_PER_DECADE = 1000


def current_step(trainer: Trainer) -> int:
    """The step at which Lightning logs: the number of batches that ended in an optimizer step."""
    return trainer.fit_loop.epoch_loop._batches_that_stepped


def log_metrics(
    trainer: Trainer, metrics: Mapping[str, float], step: int | None = None, to_tensorboard: bool = True
) -> None:
    """Log one value per key to every logger.

    Log values that belong together in one call: TensorBoard samples the points of each tag, and keeps the same steps
    for tags that are logged together. It gets them as one event, which is several times faster than one event each.

    Args:
        trainer: the Trainer.
        metrics: values by key.
        step: of the values; Lightning's own if None.
        to_tensorboard: whether TensorBoard gets them too. If not, a record holds them in a form that it can show.
    """
    step = current_step(trainer) if step is None else step
    loggers: list[Any] = trainer.loggers
    for logger in loggers:
        if not to_tensorboard and isinstance(logger, _TENSORBOARD_LOGGERS):
            continue
        writer = logger.experiment.file_writer if _is_plain_tensorboard(logger) and trainer.is_global_zero else None
        if writer is None:
            logger.log_metrics(dict(metrics), step=step)
        else:
            values = [Summary.Value(tag=tag, simple_value=value) for tag, value in metrics.items()]
            writer.add_summary(Summary(value=values), step)


def _is_plain_tensorboard(logger: Any) -> bool:
    """Whether a logger writes the values under their keys and does nothing else, as a subclass may do."""
    return type(logger) in _TENSORBOARD_LOGGERS and not logger._prefix


def tensorboard_loggers(trainer: Trainer) -> list[Any]:
    """The TensorBoard loggers; none on ranks other than 0."""
    loggers: list[Any] = trainer.loggers if trainer.is_global_zero else []
    return [logger for logger in loggers if isinstance(logger, _TENSORBOARD_LOGGERS)]


def tensorboard_writers(trainer: Trainer) -> list[Any]:
    """The ``SummaryWriter`` of each TensorBoard logger; none on ranks other than 0."""
    return [logger.experiment for logger in tensorboard_loggers(trainer)]


def log_record(trainer: Trainer, tag: str, record: Mapping[str, Any], step: int) -> None:
    """Log a record for the tab that this package adds to TensorBoard."""
    for writer in tensorboard_writers(trainer):
        writer._get_file_writer().add_summary(summary_of(tag, record), step)


def flush(trainer: Trainer) -> None:
    """Write what TensorBoard was given to its file, so that it can be seen at once. Else that may take two minutes."""
    for writer in tensorboard_writers(trainer):
        writer.flush()


def log_figure(trainer: Trainer, tag: str, figure: Figure, step: int) -> None:
    """Log a figure to TensorBoard."""
    for writer in tensorboard_writers(trainer):
        writer.add_figure(tag, figure, step, close=False)  # the figure was made without pyplot, which would close it


def log_vs_lr(trainer: Trainer, tag: str, lrs: Iterable[float], losses: Iterable[float]) -> None:
    """Log a chart of losses or scores against learning rates to TensorBoard, with step = round(1000 · log10 lr).

    So -3000 is the learning rate 1e-3, and the curves of several runs can be compared on a log axis. The steps of a tag
    must rise, so of several points with the same step only the first is logged.
    """
    points: dict[int, float] = {}
    for lr, loss in sorted(zip(lrs, losses, strict=True), key=lambda point: point[0]):
        if math.isfinite(loss):
            points.setdefault(round(_STEPS_PER_DECADE * math.log10(lr)), loss)
    for writer in tensorboard_writers(trainer):
        for step, loss in points.items():
            writer.add_scalar(tag, loss, step)
