"""`OneCycleLR`: one cycle over the run, with a final decay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lightning_lr.arguments import checked, instance_of, refuse
from lightning_lr.callbacks._applied import Applied
from lightning_lr.callbacks._argument_rules import ONE_CYCLE
from lightning_lr.callbacks._saved_arguments import plain_arguments
from lightning_lr.callbacks._schedule_run import FittedSchedule
from lightning_lr.callbacks._scheduled_lr import ScheduledLR
from lightning_lr.range_test.suggestion import Suggestion
from lightning_lr.schedules.bounds import Bound, Bounds, bound
from lightning_lr.schedules.one_cycle import OneCycle
from lightning_lr.schedules.waves import Wave


class OneCycleLR(ScheduledLR):
    """The one-cycle policy of Smith and Topin (2018): up to ``max_lr``, then down to far below the start.

    In a run of T steps, the learning rate rises from ``base_lr = max_lr / div_factor`` at step 0 to ``max_lr`` at step
    p = ``pct_start`` · T - 1. Then, with two phases (fastai's form), it falls to ``base_lr / final_div_factor`` at the
    last step. With three phases (the paper's form), it falls to ``base_lr`` at step 2p, and from there to
    ``base_lr / final_div_factor`` at the last step. After T steps it stays there.

    Each optimizer is counted by its own finished steps, as in `CyclicalLR`. A run that is resumed with another length
    goes on from the same phase, and the rest of the cycle is stretched over the rest of the run.

    Args:
        max_lr: the peak. A number is for the parameter group with the highest learning rate; the other groups keep
            their ratio to it. A list has one peak for each group, by position; a dict has one for each group, by the
            group's ``"name"``. If None, an `LRRangeTest` of the same Trainer sets it to its ``one_cycle_max_lr``.
        total_steps: T: optimizer steps (``500``), epochs (``"2ep"``) or a share of the run (``"1run"``).
        pct_start: share of T before the peak, above 0 and below 1; at most 0.5 with three phases.
        three_phase: whether there are three phases.
        div_factor: ``max_lr`` divided by the learning rate at the start, at least 1.
        final_div_factor: the learning rate at the start divided by that at the end, at least 1.
        wave: each phase as a straight line, or as half a cosine.
        momentum: lowest and highest value, moved inversely to the learning rate, as in `CyclicalLR`. Smith uses 0.85
            and 0.95.
        weight_decay: likewise.
        optimizer: position of the only optimizer to be driven; all if None.
        replace_scheduler: whether this callback takes the place of a scheduler that ``configure_optimizers`` returns,
            as in `CyclicalLR`.

    Logged keys, every ``Trainer(log_every_n_steps)``:

    | key | value |
    |---|---|
    | ``lr/<optimizer>[/<group>]``, ``lr/loss`` | the learning rate that a step used, and its loss |
    | ``cyclical_lr/momentum``, ``/weight_decay`` | of a group with ratio 1, if given |

    Example:
        >>> OneCycleLR(max_lr=0.1, wave="triangle", pct_start=0.5).preview(steps=10).lr.round(4).tolist()
        [0.004, 0.028, 0.052, 0.076, 0.1, 0.08, 0.06, 0.04, 0.02, 0.0]

    References:
        Leslie N. Smith and Nicholay Topin, "Super-Convergence: Very Fast Training of Neural Networks Using Large
        Learning Rates", 2018, arXiv:1708.07120.
    """

    _bound_arguments = "max_lr"

    @checked(**ONE_CYCLE)
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
        replace_scheduler: bool = False,
    ) -> None:
        arguments = plain_arguments(locals())
        if three_phase and pct_start > 0.5:
            raise refuse("pct_start", "be at most 0.5 with three_phase", pct_start)
        self._div_factor = div_factor
        bounds = None if max_lr is None else self._bounds_of(max_lr)
        lengths = {"total_steps": total_steps}
        super().__init__(arguments, bounds, lengths, optimizer, momentum, weight_decay, replace_scheduler)
        self._shape: dict[str, Any] = {
            "pct_start": float(pct_start),
            "three_phase": three_phase,
            "final_div_factor": float(final_div_factor),
            "wave": wave,
        }

    @checked(max_lr=bound)
    def set_max_lr(self, max_lr: float | Sequence[float] | Mapping[str, float]) -> None:
        """Set the peak, from the next optimizer step on. Checkpoints keep it."""
        self._set_bounds(self._bounds_of(max_lr))

    @checked(suggestion=instance_of(Suggestion, what="a Suggestion"))
    def set_bounds_from(self, suggestion: Suggestion) -> Applied:
        max_lr = suggestion.one_cycle_max_lr
        self.set_max_lr(max_lr)
        return Applied("OneCycleLR", call=f"OneCycleLR(max_lr={max_lr:.3g})")

    def _bounds_of(self, max_lr: Bound) -> Bounds:
        """Bounds from ``max_lr / div_factor`` to ``max_lr``, of each group."""
        peak = Bounds.checked(0.0, max_lr).max_lr
        if isinstance(peak, dict):
            return Bounds.checked({name: lr / self._div_factor for name, lr in peak.items()}, peak)
        if isinstance(peak, list):
            return Bounds.checked([lr / self._div_factor for lr in peak], peak)
        return Bounds.checked(peak / self._div_factor, peak)

    def _build_schedule(self, lengths: dict[str, int], run_steps: float, fast_dev_run: bool) -> FittedSchedule:
        total = lengths["total_steps"]
        return FittedSchedule(OneCycle(total, **self._shape), end=total if "run" in self.length_units else None)
