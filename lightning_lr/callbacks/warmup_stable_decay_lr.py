"""`WarmupStableDecayLR`: up, hold, and down at the end of a run whose length need not be known in advance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from lightning_lr.callbacks._arguments import plain_arguments
from lightning_lr.callbacks._scheduled_lr import ScheduledLR
from lightning_lr.range_test.suggestion import Suggestion
from lightning_lr.schedules.bounds import Bounds
from lightning_lr.schedules.durations import Duration
from lightning_lr.schedules.warmup_stable_decay import WarmupStableDecay


class WarmupStableDecayLR(ScheduledLR):
    """A linear warm-up of w steps, ``max_lr`` for as long as it takes, and a fall of d steps at the end of T steps::

        lr(t) = max_lr · (t+1)/(w+1)  for t < w,     max_lr · (1 - sqrt((t - (T-d)) / d))  for t >= T - d

    With ``total_steps=None`` the end is open: the fall comes when the run is resumed with a ``total_steps``. Each
    optimizer is counted by its own finished steps, as in `CyclicalLR`.

    Args:
        max_lr: a number for the parameter group with the highest learning rate (the others keep their ratio to it), or
            one for each group, as a list by position or as a dict by the group's ``"name"``. Left open, an
            `LRRangeTest` of the same Trainer sets it.
        warmup: w: optimizer steps (``500``), epochs (``"2ep"``) or a share of the run (``"0.05run"``); None for none.
        decay: d, likewise.
        total_steps: T, likewise, or None.
        optimizer: position of the only optimizer to be driven; all if None.

    Logged keys are those of `CyclicalLR`, but for the figure; the cycle is always 1.

    Example:
        >>> WarmupStableDecayLR(0.1, warmup=1, decay=4).preview(steps=8).lr.round(4).tolist()
        [0.05, 0.1, 0.1, 0.1, 0.1, 0.05, 0.0293, 0.0134]

    References:
        Shengding Hu et al., "MiniCPM", 2024, arXiv:2404.06395.
        Alexander Hägele et al., "Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations", 2024,
        arXiv:2405.18392.
    """

    _what_sets_bounds = "max_lr"

    def __init__(
        self,
        max_lr: float | Sequence[float] | Mapping[str, float] | None = None,
        warmup: int | str | None = "0.05run",
        decay: int | str = "0.2run",
        total_steps: int | str | None = "1run",
        optimizer: int | None = None,
    ) -> None:
        arguments = plain_arguments(locals())
        lengths = {"warmup": warmup, "decay": None if total_steps is None else decay, "total_steps": total_steps}
        super().__init__(arguments, None if max_lr is None else Bounds.checked(0.0, max_lr), lengths, optimizer)
        Duration.parse("decay", decay)  # an open end keeps it for a later run

    def set_max_lr(self, max_lr: float | Sequence[float] | Mapping[str, float]) -> None:
        """Set the height, from the next optimizer step on. It is kept in checkpoints."""
        self._set_bounds(Bounds.checked(0.0, max_lr))

    def take(self, suggestion: Suggestion) -> str:
        self.set_max_lr(suggestion.lr)
        return f"WarmupStableDecayLR(max_lr={suggestion.lr:.3g})"

    def _schedule_for(self, lengths: dict[str, int], run: float, fit: bool) -> tuple[WarmupStableDecay, float | None]:
        total = lengths.get("total_steps", math.inf)
        warmup, decay = lengths.get("warmup", 0), lengths.get("decay", 1)
        return WarmupStableDecay(warmup if fit else 0, decay if fit else 1, total), None
