"""The schedule of one cycle over a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from lightning_lr.arguments import checked, choice, flag, number, whole
from lightning_lr.schedules.base import Position
from lightning_lr.schedules.waves import Wave, wave_height


@checked(
    total_steps=whole(at_least=1),
    pct_start=number(above=0, below=1),
    three_phase=flag,
    final_div_factor=number(at_least=1),
    wave=choice(get_args(Wave)),
)
@dataclass(frozen=True)
class OneCycle:
    """One cycle over a run of T steps, with a final decay ("annihilation") far below ``base_lr``.

    Let p = ``pct_start`` · T - 1. The amplitude rises from 0 at step 0 to 1 at step p. Then:

    - with two phases, the learning rate falls to ``base_lr / final_div_factor`` at the last step, T - 1;
    - with three phases, the amplitude falls to 0 at step 2p, then ``base_lr`` falls to ``base_lr / final_div_factor``
      at step T - 1.

    >>> three = OneCycle(11, pct_start=5 / 11, three_phase=True, final_div_factor=100, wave="triangle")
    >>> [tuple(round(x, 12) for x in three.at(step)[2:]) for step in (0, 3, 4, 5, 7, 8, 9, 10, 11)]
    [(1.0, 0.0), (1.0, 0.75), (1.0, 1.0), (1.0, 0.75), (1.0, 0.25), (1.0, 0.0), (0.505, 0.0), (0.01, 0.0), (0.01, 0.0)]
    >>> two = OneCycle(11, pct_start=3 / 11, final_div_factor=100, wave="triangle")
    >>> [tuple(round(x, 12) for x in two.at(step)[2:]) for step in (0, 1, 2, 3, 9, 10, 11)]
    [(1.0, 0.0), (1.0, 0.5), (1.0, 1.0), (0.87625, 0.875), (0.13375, 0.125), (0.01, 0.0), (0.01, 0.0)]

    Attributes:
        total_steps: T.
        pct_start: fraction of the run before the peak: between 0 and 1, at most 0.5 with three phases.
        three_phase: whether there are three phases.
        final_div_factor: as above.
        wave: wave form of each phase.

    References:
        Leslie N. Smith and Nicholay Topin, "Super-Convergence", 2018, arXiv:1708.07120. The two phases are fastai's.
    """

    total_steps: int
    pct_start: float = 0.3
    three_phase: bool = False
    final_div_factor: float = 1e4
    wave: Wave = "cosine"

    def at(self, step: float) -> Position:
        """The position after ``step`` finished optimizer steps."""
        last = self.total_steps - 1
        step = min(step, last)
        phase = _fraction(step, 0, last)
        peak = max(0.0, self.pct_start * self.total_steps - 1)
        if step <= peak:
            return Position(1, phase, 1.0, wave_height(_fraction(step, 0, peak), self.wave))
        if not self.three_phase:
            amplitude = wave_height(1 - _fraction(step, peak, last), self.wave)
            return Position(1, phase, amplitude + (1 - amplitude) / self.final_div_factor, amplitude)
        fall_end = 2 * peak
        if step <= fall_end:
            return Position(1, phase, 1.0, wave_height(1 - _fraction(step, peak, fall_end), self.wave))
        remaining = wave_height(1 - _fraction(step, fall_end, last), self.wave)
        return Position(1, phase, remaining + (1 - remaining) / self.final_div_factor, 0.0)

    def resume_step(self, cycle: int, phase: float, step: float) -> float:  # noqa: ARG002
        """The step of this schedule that has the given phase."""
        return round(phase * (self.total_steps - 1))


def _fraction(step: float, start: float, end: float) -> float:
    """The fraction of the way from start to end that has passed; 1 if both are the same step."""
    return (step - start) / (end - start) if end > start else 1.0
