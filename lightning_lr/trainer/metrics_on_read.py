"""Metrics that get into ``trainer.callback_metrics`` when somebody reads it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from lightning.pytorch import Trainer
from torch import Tensor

MetricSource = Callable[[], dict[str, Tensor]]


class MetricsOnRead:
    """Adds metrics to ``trainer.callback_metrics`` at each read, so that a step at which nobody reads costs nothing.

    Lightning does the same with what a module logs: its property computes the metrics when it is read. Nothing can be
    registered with that property. So until `end`, the object that has it gets a class that asks the sources first.

    Args:
        trainer: the Trainer.
        source: gives the metrics that have changed since it was called last.
    """

    def __init__(self, trainer: Trainer, source: MetricSource) -> None:
        connector: Any = trainer._logger_connector
        self._connector, self._source = connector, source
        if not hasattr(connector, "metric_sources"):
            connector.__class__ = _asking_sources(connector.__class__)
        connector.metric_sources += (source,)

    def end(self) -> None:
        """Add the last metrics, and none from now on."""
        connector = self._connector
        connector._callback_metrics.update(self._source())
        connector.metric_sources = tuple(each for each in connector.metric_sources if each != self._source)
        if not connector.metric_sources:
            del connector.metric_sources
            connector.__class__ = type(connector).__base__


@cache
def _asking_sources(connector_class: Any) -> Any:
    """A class of connectors, as they are made for a rehearsal too: those have no sources."""

    class LoggerConnector(connector_class):  # type: ignore[misc]
        metric_sources: tuple[MetricSource, ...] = ()

        @property
        def callback_metrics(self) -> dict[str, Tensor]:
            for source in self.metric_sources:
                self._callback_metrics.update(source())
            return super().callback_metrics  # type: ignore[no-any-return]

    return LoggerConnector
