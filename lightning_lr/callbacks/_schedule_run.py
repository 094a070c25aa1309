"""`ScheduleRun`: the part of a schedule callback that lives as long as one fit."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from functools import partial
from typing import Any, NamedTuple

from lightning.pytorch import Trainer
from torch.optim import Optimizer

from lightning_lr.optimizers.step_counter import StepCounter
from lightning_lr.schedules.base import Schedule
from lightning_lr.schedules.bounds import Bounds
from lightning_lr.schedules.tracker import ScheduleTracker
from lightning_lr.schedules.writer import ScheduleWriter
from lightning_lr.trainer.lightning_packages import MisconfigurationException
from lightning_lr.trainer.run_clock import RunClock
from lightning_lr.trainer.run_lengths import RunLengths

# Steps of the schedule of a run that ends by time. It may be asked for parts of a step.
TIMED_STEPS = 10_000
# The measured speed may leave up to this share of the schedule of such a run undone, since it is measured again only
# every 5 % of the steps.
_UNDONE = 0.02


class FittedSchedule(NamedTuple):
    """A schedule for a run of a given length.

    Attributes:
        schedule: the schedule.
        end: step of the schedule that must fall on the end of the run, also if the run is resumed with another length;
            None if there is no such step.
    """

    schedule: Schedule
    end: float | None = None


class ScheduleRun:
    """Drives optimizers through a schedule: after each finished step, the values of the next step are written.

    Args:
        optimizers: whose groups are written.
        fitted: the schedule.
        writer: of these optimizers.
        lengths: of the run from the beginning of the schedule on.
        steps_before: optimizer steps of the training before the schedule began.
        clock: of a run that ends by time alone, for an optimizer that has finished this many steps; else None. The
            schedule is then one of `TIMED_STEPS` steps, and moves so that it ends with the run.
        saved: `state` of a run that is resumed; empty for a new run.

    Attributes:
        optimizers: as given.
        epoch_steps: optimizer steps of an epoch, infinite if not known.
        trackers: the position of each optimizer in the schedule.
        goes_on_from_phase: whether the run is resumed with a schedule of other lengths.
    """

    def __init__(
        self,
        optimizers: list[Optimizer],
        fitted: FittedSchedule,
        writer: ScheduleWriter,
        lengths: RunLengths,
        steps_before: int,
        clock: Callable[[int], RunClock] | None,
        saved: dict[str, Any],
    ) -> None:
        schedule = fitted.schedule
        self.optimizers, self.epoch_steps = optimizers, lengths.epoch_steps
        self._lengths, self._steps_before = lengths, steps_before
        self._schedule_fields = _fields(schedule)
        self._writer = writer
        self.goes_on_from_phase = bool(saved) and saved["schedule"] != self._schedule_fields
        if not saved:
            self.trackers = [ScheduleTracker(schedule) for _ in optimizers]
        elif self.goes_on_from_phase:
            self.trackers = [
                ScheduleTracker.from_phase(schedule, state, fitted.end, lengths.run_steps) for state in saved["courses"]
            ]
        else:
            self.trackers = [ScheduleTracker.from_state(schedule, state) for state in saved["courses"]]
        self._clock = clock
        self.write()
        self._counters = [
            StepCounter(optimizer, self._after_step(i), tracker.count)
            for i, (optimizer, tracker) in enumerate(zip(optimizers, self.trackers, strict=True))
        ]

    @property
    def is_over(self) -> bool:
        """Whether the schedule has ended and keeps its last values."""
        return self.has_used_its_time or all(tracker.position.phase == 1 for tracker in self.trackers)

    @property
    def has_used_its_time(self) -> bool:
        """Whether it is the schedule of a run that ends by time, and has come to the end of that run."""
        end = TIMED_STEPS * (1 - _UNDONE)
        return self._clock is not None and all(tracker.schedule_step >= end for tracker in self.trackers)

    def write(self) -> None:
        """Write the values of the next step of every optimizer."""
        for i, tracker in enumerate(self.trackers):
            self._writer.write(i, tracker.position)

    def set_bounds(self, bounds: Bounds) -> None:
        """Use other bounds from the next step on."""
        self._writer.set_bounds(bounds)
        self.write()

    def state(self) -> dict[str, Any]:
        """The entries of a checkpoint. The keys are those of earlier versions."""
        return {
            "before": self._steps_before,
            **self._lengths.state(),
            "courses": [tracker.state() for tracker in self.trackers],
            "schedule": self._schedule_fields,
            "groups": self._writer.state(),
        }

    def detach(self) -> None:
        """Remove the hooks from the optimizers."""
        for counter in self._counters:
            counter.remove()

    def _after_step(self, i: int) -> Callable[[int], None]:
        # a closure, since it is called at every step
        tracker, write = self.trackers[i], self._writer.write

        def after_step(count: int) -> None:
            tracker.advance(count)
            write(i, tracker.position)

        if self._clock is None:
            return after_step
        clock = self._clock(tracker.count)

        def after_timed_step(count: int) -> None:
            tracker.advance(count)
            if clock.is_due(count) and (steps_left := clock.steps_left(count)) is not None:
                tracker.end_in(steps_left, TIMED_STEPS)
            write(i, tracker.position)

        return after_timed_step


def timed_run_clock(
    owner: str, units: set[str], run_steps: float, trainer: Trainer
) -> Callable[[int], RunClock] | None:
    """Makes the clock of an optimizer, if a schedule needs the length of a run that ends by time alone.

    Args:
        owner: name of the callback.
        units: of its lengths, and of what else it counts.
        run_steps: optimizer steps of the run, infinite if nothing but time ends it.
        trainer: the Trainer.

    Raises:
        MisconfigurationException: if not all of them are shares of the run.
    """
    if math.isfinite(run_steps) or "run" not in units or not RunClock.has_time_limit(trainer):
        return None
    if units != {"run"}:
        raise MisconfigurationException(
            f"{owner} counts steps or epochs (in a length, or for gamma or scale_fn), and needs the length of the run,"
            f' which only max_time ends: give all lengths as shares of the run ("0.1run"), and decay instead of gamma,'
            f" or set max_steps."
        )
    return partial(RunClock, trainer)


def _fields(schedule: Schedule) -> dict[str, Any]:
    """The numbers and names of a schedule. They show on resume whether it is the same one."""
    if not is_dataclass(schedule):
        return {}
    return {name: value for name, value in asdict(schedule).items() if name != "scale_fn"}
