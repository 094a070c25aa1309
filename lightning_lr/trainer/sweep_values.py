"""The values that a sweep records, and whether they end it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from lightning_lr.search.verdicts import NON_FINITE_IN_A_ROW

# How often the losses are read from the device in a full sweep.
_READINGS = 20


class SweepValues:
    """One value per point. Losses stay on the device at first and are read in blocks, since each reading waits for it.

    Three values in a row that are not finite end the sweep.

    Args:
        num_points: points of a full sweep.
        should_stop: given the values so far, whether the sweep ends here. It is asked for every value in order.

    Attributes:
        values: up to the one that ended the sweep.
        later: those after it.
        is_over: whether the sweep has ended.
    """

    def __init__(self, num_points: int, should_stop: Callable[[Sequence[float]], bool]) -> None:
        self._num_points = num_points
        self._should_stop = should_stop
        self._points_per_reading = max(1, num_points // _READINGS)
        self._device_losses: list[Tensor] = []  # of points that were not read yet
        self.values: list[float] = []
        self.later: list[float] = []
        self.is_over = False

    def __len__(self) -> int:
        """The points so far, also those that were not read yet."""
        return len(self.values) + len(self._device_losses)

    @property
    def latest(self) -> float:
        """The latest value that was read, NaN before the first."""
        return self.values[-1] if self.values else math.nan

    def add(self, value: float) -> None:
        """Add the value of a point."""
        if self.is_over:
            self.later.append(value)
            return
        self.values.append(value)
        latest = self.values[-NON_FINITE_IN_A_ROW:]
        diverged = len(latest) == NON_FINITE_IN_A_ROW and not any(map(math.isfinite, latest))
        self.is_over = diverged or len(self.values) == self._num_points or self._should_stop(self.values)

    def add_loss(self, loss: Tensor) -> None:
        """Add the loss of a point, a scalar on the device. It is not read yet."""
        self._device_losses.append(loss)

    def read_block(self, trainer: Trainer) -> None:
        """Read the losses if there are enough of them, or if they are the last ones."""
        if len(self._device_losses) == self._points_per_reading or len(self) == self._num_points:
            self.read_losses(trainer)

    def read_losses(self, trainer: Trainer) -> None:
        """Read the losses from the device, averaged over ranks."""
        if self._device_losses:
            losses, self._device_losses = torch.stack(self._device_losses), []
            for value in trainer.strategy.reduce(losses, reduce_op="mean").tolist():
                self.add(value)

    def end_as_diverged(self) -> None:
        """End the sweep with NaN, if it has not ended."""
        if not self.is_over:
            self.values.append(math.nan)
            self.is_over = True
