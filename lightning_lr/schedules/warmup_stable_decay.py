"""The schedule of a run whose length need not be known in advance."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lightning_lr.schedules.base import Place


@dataclass(frozen=True)
class WarmupStableDecay:
    """A linear warm-up of w steps, ``max_lr``, and at the end of a run of T steps a fall of d steps::

        (t+1)/(w+1) · max_lr  for t < w,     (1 - sqrt((t - (T-d)) / d)) · max_lr  for t >= T - d

    The length of the run need not be known until the fall begins. Sources: Hu et al. 2024 (MiniCPM), arXiv:2404.06395;
    Hägele et al. 2024, "Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations", arXiv:2405.18392.

    >>> schedule = WarmupStableDecay(3, 4, 10)
    >>> [round(schedule.at(step).height, 4) for step in (0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 0.5, 0.134, 0.0, 0.0]

    Attributes:
        warmup: w.
        decay: d.
        total_steps: T; infinite while the end is open.
    """

    warmup: int
    decay: int
    total_steps: float

    def __post_init__(self) -> None:
        if self.warmup + self.decay > self.total_steps:
            raise ValueError(
                f"warmup and decay must fit into the run, got {self.warmup} and {self.decay} steps in a run of"
                f" {self.total_steps:g}."
            )

    def at(self, step: float) -> Place:
        """Where it stands after ``step`` finished optimizer steps."""
        height = 1.0
        if step < self.warmup:
            height = (step + 1) / (self.warmup + 1)
        elif step > self.total_steps - self.decay:
            height = 1 - math.sqrt(min(1.0, 1 - (self.total_steps - step) / self.decay))
        return Place(1, min(1.0, step / self.total_steps), height, height)

    def taken_up(self, cycle: int, phase: float, step: float) -> float:  # noqa: ARG002
        """The same step: what is held has no phase, and the fall begins when its time has come."""
        return step
