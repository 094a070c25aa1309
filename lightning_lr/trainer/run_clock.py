"""How many optimizer steps a run has left that ends by time alone, by its measured speed."""

from __future__ import annotations

import math
from typing import Any

from lightning.pytorch import Trainer

from lightning_lr.trainer.lightning_packages import either

# The speed is measured again after 5 % more steps. So a schedule misses the end of the run by what the speed changes
# within its last twentieth, and a run of a million steps has only some 300 measurements.
_GROWTH = 1.05

_TIMERS = either("callbacks.Timer")


class RunClock:
    """Measures the speed of the latest half of the steps of one optimizer.

    The first step of a fit is left out: a model may be compiled in it.

    Args:
        trainer: the Trainer.
        count: finished optimizer steps.
    """

    def __init__(self, trainer: Trainer, count: int) -> None:
        self._trainer = trainer
        self._timers = _timers(trainer)
        self._marks: list[tuple[int, float]] = []  # finished steps, seconds left
        self._next_count = count + 1

    @staticmethod
    def has_time_limit(trainer: Trainer) -> bool:
        """Whether the run has a limit in time, as ``Trainer(max_time=...)`` sets it."""
        return bool(_timers(trainer))

    def is_due(self, count: int) -> bool:
        """Whether to measure after ``count`` finished steps."""
        return count >= self._next_count

    def steps_left(self, count: int) -> float | None:
        """Optimizer steps until the end of the run, at least 1. It is the same on all ranks, which communicate here.

        None if it is not known yet: after the first step of a fit, and while a coarse clock shows no time passed.
        """
        seconds_left = self._seconds_left()
        earlier = [mark for mark in self._marks if mark[0] >= count / 2] or self._marks[-1:]
        self._marks = [*earlier, (count, seconds_left)]
        self._next_count = count + 1
        if not earlier:
            return None
        first_count, first_seconds_left = earlier[0]
        passed = first_seconds_left - seconds_left
        steps = math.inf if passed <= 0 else seconds_left * (count - first_count) / passed
        if seconds_left <= 0:
            steps = 1.0
        steps = float(self._trainer.strategy.broadcast(steps))
        if math.isinf(steps):
            return None
        self._next_count = max(count + 1, int(count * _GROWTH))
        return max(1.0, steps)

    def _seconds_left(self) -> float:
        return min(float(timer.time_remaining()) for timer in self._timers)


def _timers(trainer: Trainer) -> list[Any]:
    callbacks = vars(trainer)["callbacks"]
    return [each for each in callbacks if isinstance(each, _TIMERS) and each.time_remaining() is not None]
