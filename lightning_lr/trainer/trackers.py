"""Values against learning rates, where other trackers than TensorBoard show them best. One function a tracker.

Most trackers draw a metric over the step only. A tracker is recognised by what its experiment can do, so that none is
imported. Loggers that are not named here get the points by `log_metrics`, learning rate and value together.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_warn

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class LRChart(NamedTuple):
    """A chart with learning rates on its x axis.

    Attributes:
        tag: the first part of its keys.
        key: name of the values.
        lrs: learning rates.
        values: finite numbers, one for each learning rate.
        step: of the training.
        draw: draws the figure.
    """

    tag: str
    key: str
    lrs: Sequence[float]
    values: Sequence[float]
    step: int
    draw: Callable[[], Figure]

    @property
    def name(self) -> str:
        """Key of the whole chart."""
        return f"{self.tag}/{self.key}_vs_lr"


def log_chart(trainer: Trainer, chart: LRChart) -> None:
    """Log a chart to every tracker that can show one. Call it before the points are logged one by one."""
    loggers: list[Any] = trainer.loggers if trainer.is_global_zero else []
    for logger in loggers:
        log = next((log for can_do, log in _TRACKERS if can_do(logger)), None)
        if log is None:
            continue
        try:
            log(logger, chart)
        except Exception as error:  # a chart is not worth a training
            rank_zero_warn(f"{type(logger).__name__} did not take the chart {chart.name}: {error}.")


def _log_to_wandb(logger: Any, chart: LRChart) -> None:
    """The points get the learning rate as their x axis, and there is a line chart of the whole."""
    prefix = f"{logger._prefix}{logger.LOGGER_JOIN_CHAR}" if getattr(logger, "_prefix", "") else ""
    keys = [f"{prefix}{chart.tag}/{key}" for key in (chart.key, f"{chart.key}_smoothed")]
    for key in keys:
        logger.experiment.define_metric(key, step_metric=f"{prefix}{chart.tag}/lr")
    wandb = sys.modules.get("wandb")
    if wandb is not None:
        table = wandb.Table(columns=["lr", chart.key], data=[list(point) for point in _points(chart)])
        line = wandb.plot.line(table, "lr", chart.key, title=f"{chart.key} against learning rate")
        logger.experiment.log({f"{prefix}{chart.name}": line})


def _log_to_comet(logger: Any, chart: LRChart) -> None:
    logger.experiment.log_curve(chart.name, x=list(chart.lrs), y=list(chart.values), step=chart.step)


def _log_to_mlflow(logger: Any, chart: LRChart) -> None:
    """The figure and a table, since its charts have the step or the time as their x axis."""
    logger.experiment.log_figure(logger.run_id, chart.draw(), f"{chart.name}.png")
    columns = {"lr": list(chart.lrs), chart.key: list(chart.values)}
    logger.experiment.log_table(logger.run_id, columns, f"{chart.name}.json")


def _points(chart: LRChart) -> list[tuple[float, float]]:
    return list(zip(chart.lrs, chart.values, strict=True))


def _has(*methods: str) -> Callable[[Any], bool]:
    """Whether the experiment of a logger has these methods."""
    return lambda logger: all(callable(getattr(getattr(logger, "experiment", None), name, None)) for name in methods)


# What the experiment can do -> how a chart is logged to it. The first one that fits is used: Comet has figures too.
_TRACKERS: tuple[tuple[Callable[[Any], bool], Callable[[Any, LRChart], None]], ...] = (
    (_has("log_curve"), _log_to_comet),
    (_has("define_metric", "log"), _log_to_wandb),
    (_has("log_figure", "log_table", "get_run"), _log_to_mlflow),
)
