"""Cyclical schedules: triangular, triangular2, exp_range, and what practice has made of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from lightning_lr.schedules.base import Place, Wave, eased

Mode = Literal["triangular", "triangular2", "exp_range"]
ScaleMode = Literal["cycle", "iterations"]


@dataclass(frozen=True)
class Cycles:
    """Cycle after cycle, after a linear warm-up.

    With t finished steps since the warm-up, u and d the steps up and down, c the cycle and x the share that has passed
    of the way up or down::

        height = f · S,   f = x on the way up, 1 - x on the way down (triangle),  (1 - cos πf) / 2 of that (cosine)
        S = 1 (triangular),  gamma^(c-1) (triangular2),  gamma^t (exp_range),  scale_fn(c) or scale_fn(t)

    Cycle c is ``cycle_mult^(c-1)`` times as long as the first; its turns are rounded to whole steps. The warm-up of w
    steps has height 0 and floor ``(t+1)/(w+1)``. Source: Smith 2017, arXiv:1506.01186.

    Each at every step of two cycles, past the end of the last one at 10 and 99:

    >>> def heights(*args, **kwargs):
    ...     return [round(Cycles(*args, num_cycles=2, **kwargs).at(step).height, 4) for step in (*range(11), 99)]
    >>> heights(2, 3)
    [0.0, 0.5, 1.0, 0.6667, 0.3333, 0.0, 0.5, 1.0, 0.6667, 0.3333, 0.0, 0.0]
    >>> heights(2, 3, "triangular2", 0.5)
    [0.0, 0.5, 1.0, 0.6667, 0.3333, 0.0, 0.25, 0.5, 0.3333, 0.1667, 0.0, 0.0]
    >>> heights(2, 3, "exp_range", 0.9)
    [0.0, 0.45, 0.81, 0.486, 0.2187, 0.0, 0.2657, 0.4783, 0.287, 0.1291, 0.0, 0.0]
    >>> heights(2, 3, wave="cosine")
    [0.0, 0.5, 1.0, 0.75, 0.25, 0.0, 0.5, 1.0, 0.75, 0.25, 0.0, 0.0]
    >>> heights(2, 3, scale_fn=lambda cycle: 1 / (5 * cycle))
    [0.0, 0.1, 0.2, 0.1333, 0.0667, 0.0, 0.05, 0.1, 0.0667, 0.0333, 0.0, 0.0]
    >>> heights(1, 2, cycle_mult=2.0)  # the second from 3, over 5, to 9
    [0.0, 1.0, 0.5, 0.0, 0.5, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0, 0.0]
    >>> heights(3, 3, cycle_mult=0.5)  # the second from 6, over 8 (7.5), to 9
    [0.0, 0.3333, 0.6667, 1.0, 0.6667, 0.3333, 0.0, 0.5, 1.0, 0.0, 0.0, 0.0]
    >>> [Cycles(2, 2, warmup=3).at(step)[2:] for step in (0, 1, 2, 3, 4)]
    [(0.25, 0.0), (0.5, 0.0), (0.75, 0.0), (1.0, 0.0), (1.0, 0.5)]

    Attributes:
        up: steps up, of the first cycle; need not be whole.
        down: steps down.
        mode: which S.
        gamma: as above.
        wave: which f.
        cycle_mult: growth of cycles, above 0.
        num_cycles: after which it stays at the bottom; endless if None.
        warmup: steps before the first cycle.
        scale_fn: own S, at least 0 and finite.
        scale_mode: what ``scale_fn`` is given: the cycle, from 1, or t.
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
        shrunk = 1.0
        if self.cycle_mult < 1:
            if self.num_cycles is None:
                raise ValueError(f"cycle_mult={self.cycle_mult} shrinks cycles without end: give num_cycles too.")
            shrunk = self.cycle_mult ** (self.num_cycles - 1)
        if min(self.up, self.down) * shrunk < 1:
            raise ValueError(
                f"The shortest cycle must have at least a step up and a step down, got {self.up * shrunk:.3g} up and"
                f" {self.down * shrunk:.3g} down: give longer or fewer cycles."
            )

    def at(self, step: float) -> Place:
        """Where it stands after ``step`` finished optimizer steps."""
        if step < self.warmup:
            return Place(0, step / self.warmup, (step + 1) / (self.warmup + 1), 0.0)
        cycle, (start, peak, end) = self._around(step)
        if self.num_cycles is not None and cycle > self.num_cycles:
            return Place(self.num_cycles, 1.0, 1.0, 0.0)
        rising = (step - start) / (peak - start) if step <= peak else (end - step) / (end - peak)
        height = eased(rising, self.wave) * self._scale(cycle, step - self.warmup)
        return Place(cycle, (step - start) / (end - start), 1.0, height)

    def turns(self, cycle: int) -> tuple[int, int, int]:
        """The steps at which a cycle starts, peaks and ends.

        >>> Cycles(2, 3, cycle_mult=1.5, warmup=10).turns(2)
        (15, 18, 23)
        """
        return _turns(self.up, self.down, self.cycle_mult, self.warmup, cycle)

    def taken_up(self, cycle: int, phase: float, step: float) -> float:  # noqa: ARG002
        """The step at which cycles of other lengths are taken up that have come to a phase.

        >>> Cycles(2, 4).taken_up(2, 0.5, step=105)
        9
        """
        if cycle == 0:
            return round(phase * self.warmup)
        start, _, end = self.turns(cycle)
        return round(start + phase * (end - start))

    def fitted(self, steps: int) -> Cycles:
        """The same cycles, all stretched by one factor, so that the last one ends after ``steps`` steps.

        ``num_cycles`` of them if that is set, else as many as need the least stretching.

        >>> fitted = Cycles(10, 10).fitted(70)
        >>> fitted.num_cycles, [fitted.turns(cycle) for cycle in (1, 2, 3, 4)]
        (4, [(0, 9, 18), (18, 26, 35), (35, 44, 53), (53, 61, 70)])

        Raises:
            ValueError: if the warm-up leaves nothing of the run, or cycles would be shorter than two steps.
        """
        length, number = steps - self.warmup, self.num_cycles
        if length <= 0:
            raise ValueError(
                f"warmup must be shorter than the run, which cycles are fitted to, got {self.warmup} steps in a run of"
                f" {steps}."
            )
        if number is None:
            number = 1
            while abs(math.log(self._before(number + 2) / length)) < abs(math.log(self._before(number + 1) / length)):
                number += 1
        stretch = length / self._before(number + 1)
        return replace(self, up=self.up * stretch, down=self.down * stretch, num_cycles=number)

    @property
    def total_steps(self) -> float:
        """Steps until the end of the last cycle, infinite without ``num_cycles``."""
        return math.inf if self.num_cycles is None else self.turns(self.num_cycles)[2]

    def _before(self, cycle: int) -> float:
        """Steps of all cycles before one, not rounded."""
        return _before(self.up, self.down, self.cycle_mult, cycle)

    def _around(self, step: float) -> tuple[int, tuple[int, int, int]]:
        """The cycle of a step behind the warm-up, one more than ``num_cycles`` past the end, and its turns."""
        lengths = (step - self.warmup) / (self.up + self.down)
        if self.cycle_mult != 1:
            grown = 1 + lengths * (self.cycle_mult - 1)
            # shrinking cycles have a total length: from there on it is past the end
            lengths = math.log(grown) / math.log(self.cycle_mult) if grown > 0 else math.inf
        cycle = 1 + int(lengths) if self.num_cycles is None else int(min(1 + lengths, self.num_cycles))
        turns = self.turns(cycle)
        # they are rounded, so the formula may be off by one
        while step < turns[0]:
            cycle -= 1
            turns = self.turns(cycle)
        while step >= turns[2] and (self.num_cycles is None or cycle <= self.num_cycles):
            cycle += 1
            turns = self.turns(cycle)
        return cycle, turns

    def _scale(self, cycle: int, step: float) -> float:
        if self.scale_fn is not None:
            scale = float(self.scale_fn(cycle if self.scale_mode == "cycle" else step))
            if not 0 <= scale < math.inf:
                raise ValueError(f"scale_fn must give a finite number of at least 0, got {scale} at {cycle=}, {step=}.")
            return scale
        if self.mode == "triangular2":
            return self.gamma ** (cycle - 1)
        return self.gamma**step if self.mode == "exp_range" else 1.0


def _before(up: float, down: float, cycle_mult: float, cycle: int) -> float:
    """Steps of all cycles before one, not rounded."""
    grown = cycle - 1 if cycle_mult == 1 else (cycle_mult ** (cycle - 1) - 1) / (cycle_mult - 1)
    return (up + down) * grown


@lru_cache(maxsize=64)  # a cycle is asked for at each of its steps
def _turns(up: float, down: float, cycle_mult: float, warmup: int, cycle: int) -> tuple[int, int, int]:
    start = warmup + _before(up, down, cycle_mult, cycle)
    peak = start + up * cycle_mult ** (cycle - 1)
    end = warmup + _before(up, down, cycle_mult, cycle + 1)
    return math.floor(start + 0.5), math.floor(peak + 0.5), math.floor(end + 0.5)
