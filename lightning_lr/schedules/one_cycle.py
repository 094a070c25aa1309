"""The schedule of one cycle over a run."""

from __future__ import annotations

from dataclasses import dataclass

from lightning_lr.schedules.base import Place, Wave, eased


@dataclass(frozen=True)
class OneCycle:
    """One cycle over a whole run of T steps, and a final fall ("annihilation") far below ``base_lr``.

    With p = ``pct_start`` · T - 1, the height goes from 0 at step 0 to 1 at p. Two phases: from there to
    ``base_lr / final_div_factor`` at the last step, T - 1. Three phases: back to 0 at 2p, as fast as it came, then
    ``base_lr`` falls to ``base_lr / final_div_factor`` at T - 1. Source: Smith and Topin 2018, arXiv:1708.07120; the
    two phases are fastai's.

    >>> one = OneCycle(11, pct_start=5 / 11, three_phase=True, final_div_factor=100, wave="triangle")
    >>> [tuple(round(x, 12) for x in one.at(step)[2:]) for step in (0, 3, 4, 5, 7, 8, 9, 10, 11)]
    [(1.0, 0.0), (1.0, 0.75), (1.0, 1.0), (1.0, 0.75), (1.0, 0.25), (1.0, 0.0), (0.505, 0.0), (0.01, 0.0), (0.01, 0.0)]
    >>> two = OneCycle(11, pct_start=3 / 11, final_div_factor=100, wave="triangle")
    >>> [tuple(round(x, 12) for x in two.at(step)[2:]) for step in (0, 1, 2, 3, 9, 10, 11)]
    [(1.0, 0.0), (1.0, 0.5), (1.0, 1.0), (0.87625, 0.875), (0.13375, 0.125), (0.01, 0.0), (0.01, 0.0)]

    Attributes:
        total_steps: T.
        pct_start: share of the run until the peak: between 0 and 1, up to 0.5 with three phases.
        three_phase: as above.
        final_div_factor: as above.
        wave: straight, or half a cosine in each phase.
    """

    total_steps: int
    pct_start: float = 0.3
    three_phase: bool = False
    final_div_factor: float = 1e4
    wave: Wave = "cosine"

    def at(self, step: float) -> Place:
        """Where it stands after ``step`` finished optimizer steps."""
        last = self.total_steps - 1
        step = min(step, last)
        phase = _share(step, 0, last)
        peak = max(0.0, self.pct_start * self.total_steps - 1)
        if step <= peak:
            return Place(1, phase, 1.0, eased(_share(step, 0, peak), self.wave))
        foot = 2 * peak
        if not self.three_phase:
            height = eased(1 - _share(step, peak, last), self.wave)
            return Place(1, phase, height + (1 - height) / self.final_div_factor, height)
        if step <= foot:
            return Place(1, phase, 1.0, eased(1 - _share(step, peak, foot), self.wave))
        remaining = eased(1 - _share(step, foot, last), self.wave)
        return Place(1, phase, remaining + (1 - remaining) / self.final_div_factor, 0.0)

    def taken_up(self, cycle: int, phase: float, step: float) -> float:  # noqa: ARG002
        """The step at which another one cycle is taken up that has come to a phase."""
        return round(phase * (self.total_steps - 1))


def _share(step: float, start: float, end: float) -> float:
    """How much of the way has passed; all of it if there is none."""
    return (step - start) / (end - start) if end > start else 1.0
