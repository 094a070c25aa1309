"""Schedules: pure functions from the number of finished optimizer steps to a position between two bounds.

Every schedule reaches its bounds exactly, can be asked for any step, and keeps its last value after its end.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_lr.arguments import checked, learning_rate, learning_rate_or_0, number, refuse

Steps = TypeVar("Steps", float, NDArray[np.float64], Tensor)


class Position(NamedTuple):
    """The position in a schedule at one step.

    Attributes:
        cycle: number of the cycle, from 1; 0 in the warm-up before the first cycle.
        phase: fraction of the cycle that has passed, from 0 to 1.
        base_factor: factor of ``base_lr``: 1 within a cycle, below 1 in a warm-up or a final decay.
        amplitude: 0 at the lower bound, 1 at the upper bound.
    """

    cycle: int
    phase: float
    base_factor: float
    amplitude: float

    def lr(self, base_lr: float, max_lr: float) -> float:
        """``base_factor · base_lr + amplitude · (max_lr - base_lr)``.

        It is computed in an order in which amplitudes of 0 and 1 give the bounds without rounding.

        >>> Position(1, 0.5, 1.0, 1.0).lr(0.1, 0.7), Position(1, 0.0, 1.0, 0.0).lr(0.1, 0.7)
        (0.7, 0.1)
        """
        return (self.base_factor - self.amplitude) * base_lr + self.amplitude * max_lr


def finished_cycles(position: Position) -> int:
    """Number of cycles that have ended before a position."""
    return max(0, position.cycle if position.phase == 1 else position.cycle - 1)


class Schedule(Protocol):
    """The methods that every schedule has."""

    def at(self, step: float) -> Position:
        """The position after ``step`` finished optimizer steps."""

    def resume_step(self, cycle: int, phase: float, step: float) -> float:
        """The step of this schedule from which a run goes on that is resumed with other lengths.

        Args:
            cycle: in the schedule before the resume.
            phase: in the schedule before the resume.
            step: of the schedule before the resume.
        """


def _step(name: str, value: Any) -> Any:
    """The rule for a number of steps, or an array or a tensor of such numbers."""
    for each in value.flatten().tolist() if isinstance(value, (np.ndarray, Tensor)) else [value]:
        number(at_least=0)(name, each)
    return value


def _schedule(name: str, value: Any) -> Any:
    if not callable(getattr(value, "at", None)):
        raise refuse(name, "be a schedule, such as Cyclical", value)
    return value


@checked(schedule=_schedule, step=_step, base_lr=learning_rate_or_0, max_lr=learning_rate)
def lr_at(schedule: Schedule, step: Steps, base_lr: float, max_lr: float) -> Steps:
    """The learning rate after ``step`` finished optimizer steps.

    A number gives a float. An array or a tensor of any shape gives the same shape in float64. Each element equals the
    learning rate that training uses, bit for bit.

    >>> from lightning_lr.schedules.cyclical import Cyclical
    >>> lr_at(Cyclical(2, 4), np.arange(8), 0.1, 0.5).round(12).tolist()
    [0.1, 0.3, 0.5, 0.4, 0.3, 0.2, 0.1, 0.3]
    >>> lr_at(Cyclical(2, 4), torch.tensor([[1, 2], [6, 8]]), 0.0, 1.0)
    tensor([[0.5000, 1.0000],
            [0.0000, 1.0000]], dtype=torch.float64)

    Raises:
        ValueError: for a step below 0.
    """
    if isinstance(step, np.ndarray):
        values = [schedule.at(one).lr(base_lr, max_lr) for one in step.ravel().tolist()]
        return np.array(values, dtype=np.float64).reshape(step.shape)
    if isinstance(step, Tensor):
        values = [schedule.at(one).lr(base_lr, max_lr) for one in step.flatten().tolist()]
        return torch.tensor(values, dtype=torch.float64, device=step.device).reshape(step.shape)
    return schedule.at(step).lr(base_lr, max_lr)
