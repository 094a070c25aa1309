"""The schedule of a run whose length need not be known in advance."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lightning_lr.arguments import checked, number_or_infinity, whole
from lightning_lr.schedules.base import Position


@checked(
    warmup=whole(at_least=0),
    decay=whole(at_least=1),
    total_steps=number_or_infinity(at_least=1),
)
@dataclass(frozen=True)
class WarmupStableDecay:
    """A linear warm-up of w steps, then ``max_lr``, then a decay in the last d steps of a run of T steps::

        lr(t) = max_lr · (t+1) / (w+1)                    for t < w
        lr(t) = max_lr                                    for w <= t <= T - d
        lr(t) = max_lr · (1 - sqrt((t - (T-d)) / d))      for t > T - d

    The length of the run need not be known before the decay begins.

    >>> schedule = WarmupStableDecay(3, 4, 10)
    >>> [round(schedule.at(step).amplitude, 4) for step in (0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 0.5, 0.134, 0.0, 0.0]

    Attributes:
        warmup: w.
        decay: d.
        total_steps: T; infinite while the end is open.

    Raises:
        ValueError: if w + d > T.

    References:
        Shengding Hu et al., "MiniCPM", 2024, arXiv:2404.06395.
        Alexander Hägele et al., "Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations", 2024,
        arXiv:2405.18392.
    """

    warmup: int
    decay: int
    total_steps: float

    def __post_init__(self) -> None:
        if self.warmup + self.decay > self.total_steps:
            raise ValueError(
                f"warmup and decay must fit into the run, got {self.warmup} and {self.decay} steps in a run of"
                f" {self.total_steps:g} steps: give shorter ones."
            )

    def at(self, step: float) -> Position:
        """The position after ``step`` finished optimizer steps."""
        amplitude = 1.0
        if step < self.warmup:
            amplitude = (step + 1) / (self.warmup + 1)
        elif step > self.total_steps - self.decay:
            amplitude = 1 - math.sqrt(min(1.0, 1 - (self.total_steps - step) / self.decay))
        return Position(1, min(1.0, step / self.total_steps), amplitude, amplitude)

    def resume_step(self, cycle: int, phase: float, step: float) -> float:  # noqa: ARG002
        """The same step: a constant learning rate has no phase, and the decay begins at a fixed distance to the end."""
        return step
