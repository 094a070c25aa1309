"""`OneCycleLR`: one cycle over the run, and a final fall."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from lightning_lr.callbacks._arguments import check_flags, check_numbers, plain_arguments
from lightning_lr.callbacks._scheduled_lr import ScheduledLR
from lightning_lr.range_test.suggestion import Suggestion
from lightning_lr.schedules.bounds import Bound, Bounds
from lightning_lr.schedules.one_cycle import OneCycle
from lightning_lr.schedules.waves import Wave


class OneCycleLR(ScheduledLR):
    """The one-cycle policy of Smith and Topin (2018): up to ``max_lr``, down again, and far below where it began.

    Of T steps, from ``base_lr = max_lr / div_factor`` at the first to ``max_lr`` at step p = ``pct_start`` · T - 1.
    Two phases (fastai's form): down to ``base_lr / final_div_factor`` at the last step. Three phases (the paper's):
    back to ``base_lr`` at step 2p, then to ``base_lr / final_div_factor``. Behind its end it stays there.

    Each optimizer is counted by its own finished steps, as in `CyclicalLR`. A run that is resumed with another length
    goes on from the same phase, and what remains of the cycle takes what remains of the run.

    Args:
        max_lr: the peak: a number for the parameter group with the highest learning rate (the others keep their ratio
            to it), or one for each group, as a list by position or as a dict by the group's ``"name"``. Left open, an
            `LRRangeTest` of the same Trainer sets it, to the ``max_lr`` that it found for cycles.
        total_steps: T: optimizer steps (``500``), epochs (``"2ep"``) or a share of the run (``"1run"``).
        pct_start: share of T until the peak, above 0, below 1; at most 0.5 with three phases.
        three_phase: as above.
        div_factor: as above, at least 1.
        final_div_factor: as above, at least 1.
        wave: each phase straight, or half a cosine.
        momentum: lowest and highest, moved against the learning rate, as in `CyclicalLR`; Smith's are 0.85 and 0.95.
        weight_decay: likewise.
        optimizer: position of the only optimizer to be driven; all if None.

    Logged keys are those of `CyclicalLR`, but for the figure.

    Example:
        >>> OneCycleLR(max_lr=0.1, wave="triangle", pct_start=0.5).preview(steps=10).lr.round(4).tolist()
        [0.004, 0.028, 0.052, 0.076, 0.1, 0.08, 0.06, 0.04, 0.02, 0.0]

    References:
        Leslie N. Smith and Nicholay Topin, "Super-Convergence: Very Fast Training of Neural Networks Using Large
        Learning Rates", 2018, arXiv:1708.07120.
    """

    _what_sets_bounds = "max_lr"

    def __init__(
        self,
        max_lr: float | Sequence[float] | Mapping[str, float] | None = None,
        total_steps: int | str = "1run",
        pct_start: float = 0.3,
        three_phase: bool = False,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        wave: Wave = "cosine",
        momentum: tuple[float, float] | None = None,
        weight_decay: tuple[float, float] | None = None,
        optimizer: int | None = None,
    ) -> None:
        arguments = plain_arguments(locals())
        check_flags(three_phase=three_phase)
        check_numbers(pct_start=pct_start, div_factor=div_factor, final_div_factor=final_div_factor)
        if wave not in get_args(Wave):
            raise ValueError(f"wave must be one of {', '.join(get_args(Wave))}, got {wave!r}.")
        if not 0 < pct_start < 1 or (three_phase and pct_start > 0.5):
            raise ValueError(
                f"pct_start must be above 0 and below 1, at most 0.5 with three_phase, got {pct_start} with"
                f" {three_phase=}."
            )
        for name, factor in (("div_factor", div_factor), ("final_div_factor", final_div_factor)):
            if not 1 <= factor < math.inf:
                raise ValueError(f"{name} must be finite and at least 1, got {factor}.")
        self._div_factor = div_factor
        bounds = None if max_lr is None else self._bounds_below(max_lr)
        super().__init__(arguments, bounds, {"total_steps": total_steps}, optimizer, momentum, weight_decay)
        self._shape: dict[str, Any] = {
            "pct_start": float(pct_start),
            "three_phase": three_phase,
            "final_div_factor": float(final_div_factor),
            "wave": wave,
        }

    def set_max_lr(self, max_lr: float | Sequence[float] | Mapping[str, float]) -> None:
        """Set the peak, from the next optimizer step on. It is kept in checkpoints."""
        self._set_bounds(self._bounds_below(max_lr))

    def take(self, suggestion: Suggestion) -> str:
        self.set_max_lr(suggestion.one_cycle_max_lr)
        return f"OneCycleLR(max_lr={suggestion.one_cycle_max_lr:.3g})"

    def _bounds_below(self, max_lr: Bound) -> Bounds:
        peak = Bounds.checked(0.0, max_lr).max_lr
        if isinstance(peak, dict):
            return Bounds.checked({name: lr / self._div_factor for name, lr in peak.items()}, peak)
        if isinstance(peak, list):
            return Bounds.checked([lr / self._div_factor for lr in peak], peak)
        return Bounds.checked(peak / self._div_factor, peak)

    def _schedule_for(self, lengths: dict[str, int], run: float, fit: bool) -> tuple[OneCycle, float | None]:
        total = lengths["total_steps"]
        return OneCycle(total, **self._shape), total if "run" in self.units else None
