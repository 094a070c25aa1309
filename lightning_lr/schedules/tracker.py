"""The position of one optimizer in a schedule."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from lightning_lr.schedules.base import Position, Schedule

# Positions computed at once. Between training steps, 64 at once take a quarter of the time of 64 single ones.
_BLOCK_SIZE = 64


class StepMapping(NamedTuple):
    """The step of a schedule, from the count of finished optimizer steps::

        schedule step = resume_step + (count - resume_count) · speed

    Both are equal unless the run was resumed with a schedule of other lengths, or ends by time.

    Attributes:
        resume_step: step of the schedule at the last such resume.
        resume_count: finished optimizer steps at the last such resume.
        speed: steps of the schedule in one optimizer step.
    """

    resume_step: float = 0
    resume_count: int = 0
    speed: float = 1

    def schedule_step(self, count: int) -> float:
        """The step of the schedule after ``count`` finished optimizer steps."""
        return self.resume_step + (count - self.resume_count) * self.speed


class ScheduleTracker:
    """Follows one optimizer through a schedule, by the count of its finished steps.

    >>> from lightning_lr.schedules.cyclical import Cyclical
    >>> tracker = ScheduleTracker(Cyclical(2, 2))
    >>> tracker.advance(1)
    >>> tracker.last_position.amplitude, tracker.position.amplitude
    (0.0, 0.5)

    Args:
        schedule: to follow.
        count: steps that were finished before.
        mapping: from that count to the step of the schedule.

    Attributes:
        count: finished steps.
        position: of the coming step.
        last_position: of the last finished step. Before the first step it equals ``position``.
    """

    def __init__(self, schedule: Schedule, count: int = 0, mapping: StepMapping | None = None) -> None:
        self._schedule = schedule
        self._mapping = StepMapping() if mapping is None else mapping
        self._compute_block(count)
        self.count = count
        self.position = self.last_position = self._block[0]

    @classmethod
    def from_state(cls, schedule: Schedule, state: dict[str, Any]) -> ScheduleTracker:
        """Go on in the same schedule, from a `state`."""
        return cls(schedule, state["count"], StepMapping(*state["moved"]))

    @classmethod
    def from_phase(
        cls, schedule: Schedule, state: dict[str, Any], end: float | None, total_steps: float
    ) -> ScheduleTracker:
        """Go on in a schedule of other lengths, from the cycle and phase of a `state`.

        Args:
            schedule: the new one.
            state: in the old schedule.
            end: step of the schedule that must fall on the end of the run, or None. The rest of the schedule is then
                stretched over the rest of the run.
            total_steps: optimizer steps of the run, infinite if not known.
        """
        count = state["count"]
        step = schedule.resume_step(state["cycle"], state["phase"], StepMapping(*state["moved"]).schedule_step(count))
        speed: float = 1
        if end is not None and step < end and count < total_steps < math.inf:
            speed = (end - step) / (total_steps - count)
        return cls(schedule, count, StepMapping(step, count, speed))

    def advance(self, count: int) -> None:
        """Move to the position after ``count`` finished steps."""
        self.count, self.last_position = count, self.position
        if not 0 <= count - self._block_start < _BLOCK_SIZE:
            self._compute_block(count)
        self.position = self._block[count - self._block_start]

    @property
    def schedule_step(self) -> float:
        """The step of the schedule at ``position``."""
        return self._mapping.schedule_step(self.count)

    def end_in(self, steps_left: float, end: float) -> None:
        """Go on from here so that the schedule is at its step ``end`` after ``steps_left`` further optimizer steps."""
        step = min(self.schedule_step, end)
        self._mapping = StepMapping(step, self.count, (end - step) / steps_left)
        self._compute_block(self.count)
        self.position = self._block[0]

    def state(self) -> dict[str, Any]:
        """The entries of a checkpoint from which `from_state` and `from_phase` go on."""
        return {
            "count": self.count,
            "cycle": self.position.cycle,
            "phase": self.position.phase,
            "moved": list(self._mapping),  # the key of earlier checkpoints
        }

    def _compute_block(self, start: int) -> None:
        step_of = self._mapping.schedule_step
        self._block_start = start
        self._block: list[Position] = [self._schedule.at(step_of(count)) for count in range(start, start + _BLOCK_SIZE)]
