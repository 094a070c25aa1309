"""The cycles for TensorBoard: where each begins, and its losses by phase for the figure that overlays all of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from lightning.pytorch import Trainer
from torch import Tensor

from lightning_lr.schedules.base import Position
from lightning_lr.schedules.tracker import ScheduleTracker
from lightning_lr.trainer.loggers import current_step, log_figure, log_record, tensorboard_writers
from lightning_lr.trainer.step_loss import StepLoss

# Points per cycle: enough for the shape of a curve, and few enough that a checkpoint stays small.
_POINTS_PER_CYCLE = 25
# With more cycles no chart tells them apart, and what is kept would grow: each record holds all starts so far.
_MOST_CYCLES = 200


class CycleLosses:
    """Keeps the loss of 25 optimizer steps per cycle, at equal distances, of the first 200 cycles.

    Without TensorBoard it does nothing.
    """

    def __init__(self) -> None:
        self._points: list[list[float]] = []  # cycle, phase, loss
        self._recording: _Recording | None = None  # None without TensorBoard

    def start(self, trainer: Trainer, tracker: ScheduleTracker, tag: str) -> None:
        """Call it in ``on_train_start``.

        Args:
            trainer: the Trainer.
            tracker: of the optimizer whose cycles these are.
            tag: the first part of the tags of the record and of the figure.
        """
        if trainer.global_step == 0:  # another run with the same callback
            self._points = []
        self._recording = _Recording(trainer, tracker.count, tag) if tensorboard_writers(trainer) else None

    def batch_end(self, tracker: ScheduleTracker, outputs: Any) -> None:
        """Call it in ``on_train_batch_end``."""
        if self._recording is not None:
            self._points += self._recording.batch_end(tracker, outputs)

    def points(self) -> list[list[float]]:
        """Cycle, phase and loss of each point, for a checkpoint."""
        if self._recording is not None:
            self._points += self._recording.read_losses()
        return [list(point) for point in self._points]

    def load(self, points: list[list[float]]) -> None:
        """Continue after the points of a checkpoint."""
        self._points = [list(point) for point in points]

    def log_starts(self) -> None:
        """Log the starts of all cycles so far, if there are new ones. Each record holds all, so few are enough."""
        if self._recording is not None:
            self._recording.log_starts()

    def draw(self, trainer: Trainer) -> None:
        """Log the figure of all cycles, and the last starts."""
        self.log_starts()
        points = [point for point in self.points() if point[0] >= 1 and math.isfinite(point[2])]
        if self._recording is not None and points:
            from lightning_lr.schedules.figure import cycles_figure

            tag = f"{self._recording.tag}loss_vs_phase"
            log_figure(trainer, tag, cycles_figure(np.array(points)), current_step(trainer))


class _Recording:
    """The recording in one run. Losses stay on the device until their cycle is over.

    Args:
        trainer: the Trainer.
        count: finished optimizer steps.
        tag: the first part of the tags of the record and of the figure.
    """

    def __init__(self, trainer: Trainer, count: int, tag: str) -> None:
        self._trainer = trainer
        self._count = count
        self.tag = tag
        self._loss = StepLoss()
        self._device_losses: list[tuple[Position, Tensor]] = []
        self._is_due = True  # whether the coming step is recorded
        self._cycle = 0  # of the latest point
        self._starts: list[tuple[int, int]] = []  # cycle and first step
        self._has_new_starts = False
        self._next_phase = 0.0  # from which on the next point of this cycle is due

    def batch_end(self, tracker: ScheduleTracker, outputs: Any) -> list[list[float]]:
        """Record a step if one is due. Returns the points of the last cycle once it is over, else nothing."""
        points: list[list[float]] = []
        if self._is_due:
            self._loss.add(outputs)
            if tracker.count == self._count:  # no step was finished in this batch
                self._loss.batch_without_step(self._trainer)
                return points
            position = tracker.last_position
            if position.cycle != self._cycle:
                points = self.read_losses()
                self._add_start(position.cycle)
            if (loss := self._loss.pop_mean(self._trainer)) is not None:
                self._device_losses.append((position, loss))
            self._cycle = position.cycle
            self._next_phase = (int(_POINTS_PER_CYCLE * position.phase) + 1) / _POINTS_PER_CYCLE
        coming = tracker.position
        is_next = coming.phase >= self._next_phase or coming.cycle != self._cycle
        self._is_due = is_next and coming.cycle <= _MOST_CYCLES
        self._count = tracker.count
        return points

    def _add_start(self, cycle: int) -> None:
        if cycle >= 1 and len(self._starts) < _MOST_CYCLES:
            self._starts.append((cycle, current_step(self._trainer)))
            self._has_new_starts = True

    def log_starts(self) -> None:
        if self._has_new_starts:
            self._has_new_starts = False
            record = {"kind": "cycles", "starts": self._starts}
            log_record(self._trainer, f"{self.tag}record", record, step=self._starts[-1][1])

    def read_losses(self) -> list[list[float]]:
        """Read the points that are still on the device."""
        losses, self._device_losses = self._device_losses, []
        return [[position.cycle, position.phase, loss.item()] for position, loss in losses]
