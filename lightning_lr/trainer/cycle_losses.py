"""The losses of all cycles by their phase, for the figure that lays one over the other."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from lightning.pytorch import Trainer
from torch import Tensor

from lightning_lr.schedules.base import Position
from lightning_lr.schedules.tracker import ScheduleTracker
from lightning_lr.trainer.loggers import current_step, log_figure, tensorboard_writers
from lightning_lr.trainer.step_loss import StepLoss

_POINTS = 25  # of a cycle


class CycleLosses:
    """Keeps the loss of one optimizer step in each 25th of a cycle, and nothing where no TensorBoard will show it.

    Losses stay on the device until their cycle is over.
    """

    def __init__(self) -> None:
        self._points: list[list[float]] = []  # cycle, phase, loss
        self._recent: list[tuple[Position, Tensor]] = []
        self._trainer: Trainer | None = None
        self._loss = StepLoss()
        self._count = 0  # of finished steps
        self._is_due = True  # whether the coming step is the first in its twenty-fifth
        self._cycle, self._until = 0, 0.0  # the cycle, and the phase at which the next twenty-fifth begins

    def start(self, trainer: Trainer, tracker: ScheduleTracker) -> None:
        """To be called in ``on_train_start``."""
        points = self._points if trainer.global_step else []
        self.__init__()  # type: ignore[misc]
        self._points = points
        self._count = tracker.count
        self._trainer = trainer if tensorboard_writers(trainer) else None

    def batch_end(self, tracker: ScheduleTracker, outputs: Any) -> None:
        """To be called in ``on_train_batch_end``."""
        if self._trainer is None:
            return
        if self._is_due:
            self._loss.add(outputs)
        if tracker.count == self._count:  # no step was finished in this batch
            return
        self._count = tracker.count
        if self._is_due:
            self._keep(tracker.last_position)
        coming = tracker.position
        self._is_due = coming.phase >= self._until or coming.cycle != self._cycle

    def points(self) -> list[list[float]]:
        """Cycle, phase and loss of each point, for a checkpoint."""
        self._read()
        return [list(point) for point in self._points]

    def load(self, points: list[list[float]]) -> None:
        """Go on behind these."""
        self._points = [list(point) for point in points]

    def draw(self, trainer: Trainer) -> None:
        """Log the figure of all cycles."""
        points = [point for point in self.points() if point[0] >= 1 and math.isfinite(point[2])]
        if self._trainer is not None and points:
            from lightning_lr.schedules.figure import cycles_figure

            log_figure(trainer, "cyclical_lr/loss_vs_phase", cycles_figure(np.array(points)), current_step(trainer))

    def _keep(self, position: Position) -> None:
        assert self._trainer is not None
        if position.cycle != self._cycle:
            self._read()
        if (loss := self._loss.take(self._trainer)) is not None:
            self._recent.append((position, loss))
        self._cycle, self._until = position.cycle, (int(_POINTS * position.phase) + 1) / _POINTS

    def _read(self) -> None:
        recent, self._recent = self._recent, []
        self._points += [[position.cycle, position.phase, loss.item()] for position, loss in recent]
