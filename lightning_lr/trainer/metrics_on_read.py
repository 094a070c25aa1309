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

    Lightning does the same with what a module logs: its property computes the metrics when it is read. So a dict that
    was read before does not follow. Nothing can be registered with that property. So until `end`, the object that has
    it gets a class that asks the sources first: at each read, and before Lightning adds the metrics of an epoch.

    Args:
        trainer: the Trainer.
        source: gives the metrics that have changed since it was called last.
    """

    def __init__(self, trainer: Trainer, source: MetricSource) -> None:
        connector: Any = trainer._logger_connector
        self._connector, self._source = connector, source
        if not hasattr(connector, "lr_sources"):
            connector.__class__ = _with_sources(connector.__class__)
        connector.lr_sources += (source,)

    def end(self) -> None:
        """Add the last metrics, and none from now on."""
        connector = self._connector
        connector._callback_metrics.update(self._source())
        connector.lr_sources = tuple(source for source in connector.lr_sources if source != self._source)
        if not connector.lr_sources:
            del connector.lr_sources
            connector.__class__ = connector.__class__.__base__


@cache
def _with_sources(connector_class: Any) -> Any:
    """A subclass of Lightning's connector. A rehearsal makes another object of it, which has no sources."""

    class LoggerConnector(connector_class):  # type: ignore[misc]
        lr_sources: tuple[MetricSource, ...] = ()

        def add_from_sources(self) -> None:
            for source in self.lr_sources:
                self._callback_metrics.update(source())

        @property
        def callback_metrics(self) -> dict[str, Tensor]:
            self.add_from_sources()
            return super().callback_metrics  # type: ignore[no-any-return]

        def on_epoch_end(self) -> None:
            self.add_from_sources()
            super().on_epoch_end()

        # Called alone for all but the last of several validation loaders.
        def update_eval_epoch_metrics(self) -> dict[str, Tensor]:
            self.add_from_sources()
            return super().update_eval_epoch_metrics()  # type: ignore[no-any-return]

    return LoggerConnector
