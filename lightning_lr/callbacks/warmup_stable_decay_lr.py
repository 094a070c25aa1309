"""`WarmupStableDecayLR`: a warm-up, a constant learning rate, and a decay that can be decided on late."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from lightning_lr.arguments import checked, instance_of
from lightning_lr.callbacks._applied import Applied
from lightning_lr.callbacks._argument_rules import WARMUP_STABLE_DECAY
from lightning_lr.callbacks._saved_arguments import plain_arguments
from lightning_lr.callbacks._schedule_run import FittedSchedule
from lightning_lr.callbacks._scheduled_lr import ScheduledLR
from lightning_lr.range_test.suggestion import Suggestion
from lightning_lr.schedules.bounds import Bounds, bound
from lightning_lr.schedules.warmup_stable_decay import WarmupStableDecay


class WarmupStableDecayLR(ScheduledLR):
    """A linear warm-up of w steps, then ``max_lr``, then a decay in the last d steps of a run of T steps::

        lr(t) = max_lr · (t+1) / (w+1)                    for t < w
        lr(t) = max_lr                                    for w <= t <= T - d
        lr(t) = max_lr · (1 - sqrt((t - (T-d)) / d))      for t > T - d

    With ``total_steps=None`` the end is open: the decay begins when the run is resumed with a ``total_steps``. Each
    optimizer is counted by its own finished steps, as in `CyclicalLR`.

    Args:
        max_lr: the highest learning rate. A number is for the parameter group with the highest learning rate; the
            other groups keep their ratio to it. A list has one for each group, by position; a dict has one for each
            group, by the group's ``"name"``. If None, an `LRRangeTest` of the same Trainer sets it.
        warmup: w: optimizer steps (``500``), epochs (``"2ep"``) or a share of the run (``"0.05run"``); None for no
            warm-up.
        decay: d, likewise.
        total_steps: T, likewise, or None.
        optimizer: position of the only optimizer to be driven; all if None.
        replace_scheduler: whether this callback takes the place of a scheduler that ``configure_optimizers`` returns,
            as in `CyclicalLR`.

    Logged keys, every ``Trainer(log_every_n_steps)``:

    | key | value |
    |---|---|
    | ``lr/<optimizer>[/<group>]``, ``lr/loss`` | the learning rate that a step used, and its loss |

    Example:
        >>> WarmupStableDecayLR(0.1, warmup=1, decay=4).preview(steps=8).lr.round(4).tolist()
        [0.05, 0.1, 0.1, 0.1, 0.1, 0.05, 0.0293, 0.0134]

    References:
        Shengding Hu et al., "MiniCPM", 2024, arXiv:2404.06395.
        Alexander Hägele et al., "Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations", 2024,
        arXiv:2405.18392.
    """

    _bound_arguments = "max_lr"

    @checked(**WARMUP_STABLE_DECAY)
    def __init__(
        self,
        max_lr: float | Sequence[float] | Mapping[str, float] | None = None,
        warmup: int | str | None = "0.05run",
        decay: int | str = "0.2run",
        total_steps: int | str | None = "1run",
        optimizer: int | None = None,
        replace_scheduler: bool = False,
    ) -> None:
        arguments = plain_arguments(locals())
        lengths = {"warmup": warmup, "decay": None if total_steps is None else decay, "total_steps": total_steps}
        bounds = None if max_lr is None else Bounds.checked(0.0, max_lr)
        super().__init__(arguments, bounds, lengths, optimizer, replace_scheduler=replace_scheduler)

    @checked(max_lr=bound)
    def set_max_lr(self, max_lr: float | Sequence[float] | Mapping[str, float]) -> None:
        """Set ``max_lr``, from the next optimizer step on. Checkpoints keep it."""
        self._set_bounds(Bounds.checked(0.0, max_lr))

    @checked(suggestion=instance_of(Suggestion, what="a Suggestion"))
    def set_bounds_from(self, suggestion: Suggestion) -> Applied:
        self.set_max_lr(suggestion.lr)
        return Applied("WarmupStableDecayLR", call=f"WarmupStableDecayLR(max_lr={suggestion.lr:.3g})")

    def _build_schedule(self, lengths: dict[str, int], run_steps: float, fast_dev_run: bool) -> FittedSchedule:
        total_steps = lengths.get("total_steps", math.inf)
        if fast_dev_run:  # a few steps, into which warm-up and decay need not fit
            return FittedSchedule(WarmupStableDecay(0, 1, total_steps))
        return FittedSchedule(WarmupStableDecay(lengths.get("warmup", 0), lengths.get("decay", 1), total_steps))
