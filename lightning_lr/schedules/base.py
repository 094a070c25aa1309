"""Schedules: pure functions from the number of finished optimizer steps to a place between two bounds.

A schedule is exact at its turns, knows every step at once and stays at its last value past its end.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Wave = Literal["triangle", "cosine"]
Steps = TypeVar("Steps", float, NDArray[np.float64], Tensor)


class Place(NamedTuple):
    """Where a schedule stands.

    Attributes:
        cycle: from 1; 0 before the first cycle.
        phase: share of the cycle that has passed, from 0 to 1.
        floor: factor of ``base_lr``: 1 in a cycle, less in a warm-up or a final fall.
        height: 0 at the bottom, 1 at the peak of the first cycle.
    """

    cycle: int
    phase: float
    floor: float
    height: float

    def between(self, low: float, high: float) -> float:
        """``floor · low + height · (high - low)``, written so that a bound that is reached is that very number.

        >>> Place(1, 0.5, 1.0, 1.0).between(0.1, 0.7), Place(1, 0.0, 1.0, 0.0).between(0.1, 0.7)
        (0.7, 0.1)
        """
        return (self.floor - self.height) * low + self.height * high


class Schedule(Protocol):
    """What a schedule can be asked."""

    def at(self, step: float) -> Place:
        """Where it stands after ``step`` finished optimizer steps."""

    def taken_up(self, cycle: int, phase: float, step: float) -> float:
        """The step at which to go on for a schedule of other lengths, which stood at ``step`` in that phase."""


def lr_at(schedule: Schedule, step: Steps, base_lr: float, max_lr: float) -> Steps:
    """The learning rate after ``step`` finished optimizer steps.

    A number gives a float, an array or a tensor of any shape the same in float64. Each element is computed as training
    computes it, so that a preview is what will be trained with, bit for bit.

    >>> from lightning_lr.schedules.cyclical import Cycles
    >>> lr_at(Cycles(2, 4), np.arange(8), 0.1, 0.5).round(12).tolist()
    [0.1, 0.3, 0.5, 0.4, 0.3, 0.2, 0.1, 0.3]
    >>> lr_at(Cycles(2, 4), torch.tensor([[1, 2], [6, 8]]), 0.0, 1.0)
    tensor([[0.5000, 1.0000],
            [0.0000, 1.0000]], dtype=torch.float64)

    Raises:
        ValueError: for a step below 0.
    """
    if isinstance(step, np.ndarray):
        values = [lr_at(schedule, one, base_lr, max_lr) for one in step.ravel().tolist()]
        return np.array(values, dtype=np.float64).reshape(step.shape)
    if isinstance(step, Tensor):
        values = [lr_at(schedule, one, base_lr, max_lr) for one in step.flatten().tolist()]
        return torch.tensor(values, dtype=torch.float64, device=step.device).reshape(step.shape)
    if step < 0:
        raise ValueError(f"step must be at least 0, got {step}.")
    return schedule.at(step).between(base_lr, max_lr)


def eased(height: float, wave: Wave) -> float:
    """A height between 0 and 1 on a straight way or on half a cosine.

    >>> [(eased(height, "triangle"), round(eased(height, "cosine"), 3)) for height in (0, 0.25, 0.5, 1)]
    [(0, 0.0), (0.25, 0.146), (0.5, 0.5), (1, 1.0)]
    """
    return height if wave == "triangle" else 0.5 * (1 - math.cos(math.pi * height))
