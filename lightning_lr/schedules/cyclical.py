"""Cyclical schedules: triangular, triangular2 and exp_range, with cosine waves, growing cycles and a warm-up."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import get_args

from lightning_lr.arguments import checked, choice, function, number, optional, refuse, whole
from lightning_lr.schedules.amplitude import Mode, ScaleMode, check_scale, scale_of_function, scale_of_mode
from lightning_lr.schedules.base import Position
from lightning_lr.schedules.cycle_steps import start_peak_end, steps_of
from lightning_lr.schedules.waves import Wave, wave_height

# A cycle longer by a larger factor ends after any run.
MAX_CYCLE_MULT = 1000
# A restart that has less than this share of its cycle left ends the run at 0.9 of the peak or higher.
_LEAST_ROOM = 0.1
# No run reaches a cycle that is longer than the first by a larger factor, whose length may overflow.
_MAX_GROWTH = 1e12


@checked(
    up=number(at_least=0),
    down=number(above=0),
    mode=choice(get_args(Mode)),
    gamma=number(above=0, at_most=1),
    wave=choice(get_args(Wave)),
    cycle_mult=number(above=0, at_most=MAX_CYCLE_MULT),
    num_cycles=optional(whole(at_least=1)),
    warmup=whole(at_least=0),
    scale_fn=optional(function),
    scale_mode=choice(get_args(ScaleMode)),
)
@dataclass(frozen=True)
class Cyclical:
    """A linear warm-up, then one cycle after the other.

    Let t be the finished steps since the warm-up, c the number of the cycle, from 1, and x the fraction of the way up,
    which rises from 0 to 1 in the first u steps of a cycle and falls from 1 to 0 in the next d steps::

        amplitude = f(x) · S
        f(x) = x (triangle),  (1 - cos πx) / 2 (cosine)
        S = 1 (triangular),  gamma^(c-1) (triangular2),  gamma^t (exp_range),  scale_fn(c) or scale_fn(t)

    Cycle c is ``cycle_mult^(c-1)`` times as long as the first. Its start, peak and end are rounded to whole steps. Step
    s of a warm-up of w steps has the learning rate at which the first cycle begins, times ``(s+1) / (w+1)``. With
    u = 0 each cycle begins at its peak: warm restarts.

    Two cycles of five steps, and two steps after their end, 10 and 99:

    >>> def amplitudes(*args, **kwargs):
    ...     schedule = Cyclical(*args, num_cycles=2, **kwargs)
    ...     return [round(schedule.at(step).amplitude, 4) for step in (*range(11), 99)]
    >>> amplitudes(2, 3)
    [0.0, 0.5, 1.0, 0.6667, 0.3333, 0.0, 0.5, 1.0, 0.6667, 0.3333, 0.0, 0.0]
    >>> amplitudes(2, 3, "triangular2", 0.5)
    [0.0, 0.5, 1.0, 0.6667, 0.3333, 0.0, 0.25, 0.5, 0.3333, 0.1667, 0.0, 0.0]
    >>> amplitudes(2, 3, "exp_range", 0.9)
    [0.0, 0.45, 0.81, 0.486, 0.2187, 0.0, 0.2657, 0.4783, 0.287, 0.1291, 0.0, 0.0]
    >>> amplitudes(2, 3, wave="cosine")
    [0.0, 0.5, 1.0, 0.75, 0.25, 0.0, 0.5, 1.0, 0.75, 0.25, 0.0, 0.0]
    >>> amplitudes(2, 3, scale_fn=lambda cycle: 1 / (5 * cycle))
    [0.0, 0.1, 0.2, 0.1333, 0.0667, 0.0, 0.05, 0.1, 0.0667, 0.0333, 0.0, 0.0]
    >>> amplitudes(1, 2, cycle_mult=2.0)  # the second cycle has its start, peak and end at 3, 5, 9
    [0.0, 1.0, 0.5, 0.0, 0.5, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0, 0.0]
    >>> amplitudes(3, 3, cycle_mult=0.5)  # here at 6, 8 (rounded from 7.5), 9
    [0.0, 0.3333, 0.6667, 1.0, 0.6667, 0.3333, 0.0, 0.5, 1.0, 0.0, 0.0, 0.0]
    >>> amplitudes(0, 4, wave="cosine", cycle_mult=0.5)
    [1.0, 0.8536, 0.5, 0.1464, 1.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    >>> [Cyclical(2, 2, warmup=3).at(step)[2:] for step in (0, 1, 2, 3, 4)]
    [(0.25, 0.0), (0.5, 0.0), (0.75, 0.0), (1.0, 0.0), (1.0, 0.5)]

    Attributes:
        up: u, steps from the start to the peak of the first cycle; 0, or at least 1; need not be whole.
        down: d, steps from its peak to its end.
        mode: which S.
        gamma: as above.
        wave: which f.
        cycle_mult: length of a cycle divided by that of the cycle before, above 0.
        num_cycles: number of cycles, after which the amplitude stays 0; None for no end.
        warmup: w, steps before the first cycle.
        scale_fn: a function for S instead of ``mode``; its values must be finite and at least 0.
        scale_mode: argument of ``scale_fn``: c ("cycle") or t ("iterations").

    Raises:
        ValueError: if a cycle would have less than one step up and one step down.

    References:
        Leslie N. Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, arXiv:1506.01186.
        Ilya Loshchilov and Frank Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2017,
        arXiv:1608.03983.
    """

    up: float
    down: float
    mode: Mode = "triangular"
    gamma: float = 1.0
    wave: Wave = "triangle"
    cycle_mult: float = 1.0
    num_cycles: int | None = None
    warmup: int = 0
    scale_fn: Callable[[float], float] | None = None
    scale_mode: ScaleMode = "cycle"

    def __post_init__(self) -> None:
        if self.num_cycles is not None and self.cycle_mult > 1:
            most = 1 + math.floor(math.log(_MAX_GROWTH) / math.log(self.cycle_mult))
            if self.num_cycles > most:
                raise refuse("num_cycles", f"be at most {most} with cycle_mult={self.cycle_mult:g}", self.num_cycles)
        if self.scale_fn is not None:
            check_scale(self.scale_fn, self.scale_mode)
        shortest = 1.0  # length of the shortest cycle divided by that of the first
        if self.cycle_mult < 1:
            if self.num_cycles is None:
                raise ValueError(f"cycle_mult={self.cycle_mult} shrinks cycles without end: give num_cycles too.")
            shortest = self.cycle_mult ** (self.num_cycles - 1)
        if min(self.up or self.down, self.down) * shortest < 1:
            raise ValueError(
                "The shortest cycle must have at least a step up and a step down, got"
                f" {self.up * shortest:.3g} up and {self.down * shortest:.3g} down: give longer or fewer cycles."
            )

    def at(self, step: float) -> Position:
        """The position after ``step`` finished optimizer steps."""
        if step < self.warmup:
            factor = (step + 1) / (self.warmup + 1)
            first = 0.0 if self.up else self._scale(1, 0)  # amplitude of the first step of the first cycle
            return Position(0, step / self.warmup, factor, factor * first)
        cycle, (start, peak, end) = self._cycle_at(step)
        if self.num_cycles is not None and cycle > self.num_cycles:
            return Position(self.num_cycles, 1.0, 1.0, 0.0)
        fraction_up = (step - start) / (peak - start) if step < peak else (end - step) / (end - peak)
        amplitude = wave_height(fraction_up, self.wave) * self._scale(cycle, step - self.warmup)
        return Position(cycle, (step - start) / (end - start), 1.0, amplitude)

    def start_peak_end(self, cycle: int) -> tuple[int, int, int]:
        """The steps at which a cycle starts, peaks and ends. The next cycle starts at its end.

        >>> Cyclical(2, 3, cycle_mult=1.5, warmup=10).start_peak_end(2)
        (15, 18, 23)
        """
        return start_peak_end(self.up, self.down, self.cycle_mult, self.warmup, cycle)

    def resume_step(self, cycle: int, phase: float, step: float) -> float:  # noqa: ARG002
        """The step of this schedule that has the given cycle and phase.

        >>> Cyclical(2, 4).resume_step(2, 0.5, step=105)
        9
        """
        if cycle == 0:
            return round(phase * self.warmup)
        start, _, end = self.start_peak_end(cycle)
        return round(start + phase * (end - start))

    def stretched_to(self, steps: int) -> Cyclical:
        """The same cycles with all lengths multiplied by one factor, so that the last cycle ends after ``steps`` steps.

        There are ``num_cycles`` of them. If that is None, there are as many as need the least stretching.

        >>> stretched = Cyclical(10, 10).stretched_to(70)
        >>> stretched.num_cycles, [stretched.start_peak_end(cycle) for cycle in (1, 2, 3, 4)]
        (4, [(0, 9, 18), (18, 26, 35), (35, 44, 53), (53, 61, 70)])

        Raises:
            ValueError: if the warm-up is not shorter than the run, or a cycle would have less than one step up and one
                step down.
        """
        length, number = steps - self.warmup, self.num_cycles
        if length <= 0:
            raise ValueError(
                f"warmup must be shorter than the run, to leave steps for cycles, got {self.warmup} steps in a run of"
                f" {steps}."
            )
        if number is None:
            number = 1
            while self._log_stretch(number + 1, length) < self._log_stretch(number, length):
                number += 1
        factor = length / self._steps_of(number)
        return replace(self, up=self.up * factor, down=self.down * factor, num_cycles=number)

    def without_late_restart(self, steps: float, share: float) -> Cyclical:
        """Warm restarts without one that has less than a tenth of its cycle left: the run would end near the peak.

        >>> Cyclical(0, 250).without_late_restart(1001, share=0.25).num_cycles
        4

        Args:
            steps: of the run.
            share: of the run that the first cycle takes. It is not rounded to steps as ``down`` is.
        """
        if steps <= self.warmup:
            return self
        cycle, (start, _, end) = replace(self, down=max(1.0, share * steps))._cycle_at(steps)
        is_late = cycle > 1 and steps - start < _LEAST_ROOM * (end - start)
        return replace(self, num_cycles=cycle - 1) if is_late else self

    @property
    def total_steps(self) -> float:
        """Steps until the end of the last cycle, infinite without ``num_cycles``."""
        return math.inf if self.num_cycles is None else self.start_peak_end(self.num_cycles)[2]

    def _steps_of(self, cycles: int) -> float:
        """Steps of the first ``cycles`` cycles together, not rounded."""
        return steps_of(self.up, self.down, self.cycle_mult, cycles)

    def _log_stretch(self, cycles: int, length: float) -> float:
        """``|log factor|`` of the factor that stretches ``cycles`` cycles to ``length`` steps."""
        return abs(math.log(self._steps_of(cycles) / length))

    def _cycle_at(self, step: float) -> tuple[int, tuple[int, int, int]]:
        """The cycle of a step after the warm-up, and its start, peak and end.

        After the end of the last cycle, the cycle is ``num_cycles + 1``.
        """
        lengths = (step - self.warmup) / (self.up + self.down)
        if self.cycle_mult != 1:
            grown = 1 + lengths * (self.cycle_mult - 1)
            # All shrinking cycles together have a finite length; later steps lie after their end.
            lengths = math.log(grown) / math.log(self.cycle_mult) if grown > 0 else math.inf
        cycle = 1 + int(lengths) if self.num_cycles is None else int(min(1 + lengths, self.num_cycles))
        steps = self.start_peak_end(cycle)
        # The formula may be wrong by one cycle, since starts and ends are rounded.
        while step < steps[0]:
            cycle -= 1
            steps = self.start_peak_end(cycle)
        while step >= steps[2] and (self.num_cycles is None or cycle <= self.num_cycles):
            cycle += 1
            steps = self.start_peak_end(cycle)
        return cycle, steps

    def _scale(self, cycle: int, step: float) -> float:
        """S, after ``step`` finished steps since the warm-up."""
        if self.scale_fn is not None:
            return scale_of_function(self.scale_fn, self.scale_mode, cycle, step)
        return scale_of_mode(self.mode, self.gamma, cycle, step)
