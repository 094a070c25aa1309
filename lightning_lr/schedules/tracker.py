"""The way of one optimizer through a schedule."""

from __future__ import annotations

import math
from typing import Any

from lightning_lr.schedules.base import Place, Schedule

_BLOCK = 64  # steps that are computed together, which takes a quarter of the time of one by one between training steps


class Course:
    """Where one optimizer stands in a schedule, by its finished steps.

    The schedule's step is ``step + (count - since) · rate``, which is the count of finished steps unless the schedule
    was changed on the way.

    >>> from lightning_lr.schedules.cyclical import Cycles
    >>> course = Course(Cycles(2, 2))
    >>> course.advance(1)
    >>> course.used.height, course.place.height
    (0.0, 0.5)

    Args:
        schedule: to follow.
        count: steps that were finished before.
        step: of the schedule at the time when ``since`` steps were finished.
        since: as above.
        rate: steps of the schedule in one of the optimizer.

    Attributes:
        count: finished steps.
        place: of the coming step.
        used: place of the last finished step; that of the coming one before the first.
    """

    def __init__(self, schedule: Schedule, count: int = 0, step: float = 0, since: int = 0, rate: float = 1) -> None:
        self._schedule = schedule
        self._moved = (step, since, rate)
        self._fill(count)
        self.count = count
        self.place = self.used = self._ahead[0]

    @classmethod
    def resumed(cls, schedule: Schedule, saved: dict[str, Any], end: float | None, run: float) -> Course:
        """Go on through a schedule of other lengths, at the phase that `state` tells of.

        Args:
            schedule: the new one.
            saved: `state` in the old one.
            end: the step of the schedule that is to fall on the end of the run, if one is: what remains of the schedule
                takes what remains of the run.
            run: optimizer steps of the run, infinite if not known.
        """
        count = saved["count"]
        was, since, rate = saved["moved"]
        step = schedule.taken_up(saved["cycle"], saved["phase"], was + (count - since) * rate)
        fits = end is not None and step < end and count < run < math.inf
        return cls(schedule, count, step, count, (end - step) / (run - count) if fits and end is not None else 1)

    def advance(self, count: int) -> None:
        """Go to the place of the step behind ``count`` finished ones."""
        self.count, self.used = count, self.place
        if not 0 <= count - self._first < _BLOCK:
            self._fill(count)
        self.place = self._ahead[count - self._first]

    def state(self) -> dict[str, Any]:
        """What another course needs to go on."""
        return {
            "count": self.count,
            "cycle": self.place.cycle,
            "phase": self.place.phase,
            "moved": list(self._moved),
        }

    def _fill(self, count: int) -> None:
        step, since, rate = self._moved
        self._first = count
        self._ahead: list[Place] = [
            self._schedule.at(step + (each - since) * rate) for each in range(count, count + _BLOCK)
        ]
