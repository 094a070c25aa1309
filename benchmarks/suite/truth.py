"""How good a learning rate is for a setting, by trainings with a grid of rates that were recorded once.

A training has 600 steps. Its final loss is the mean training loss of the last 60. L(lr) is the mean over seeds, read
off the grid by linear interpolation in log lr, L* the lowest value on the grid, and L0 the loss before training.

Two measures of a learning rate are used. 0 is the best, 1 no better than untrained, and 2 is their cap. A rate with
which a training diverged has 1.

* Linear gap: ``(L - L*) / (L0 - L*)``. Where L0 is large, this hides losses that are many times the best one.
* Log gap: ``log(L / L*) / log(L0 / L*)``. Where L* is not above 0, it is the linear gap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from lightning_lr.range_test.smoothing import Array

PATH = Path(__file__).with_name("truth.npz")
STEPS = 600
FINAL_STEPS = 60
_CAP = 2.0
ScheduleName = Literal["constant", "triangular2", "one_cycle"]
SCHEDULES: tuple[ScheduleName, ...] = ("constant", "triangular2", "one_cycle")


class Gap(NamedTuple):
    """How far a learning rate is from the best one."""

    linear: float
    log: float


@dataclass(frozen=True, eq=False)
class Truth:
    """Final losses of a setting under one schedule.

    Attributes:
        lrs: learning rates, or peaks of the schedule, shape [n].
        losses: final loss of each, infinite if it diverged, shape [n].
        initial: loss before training.
    """

    lrs: Array
    losses: Array
    initial: float

    @property
    def best_lr(self) -> float:
        return float(self.lrs[int(np.argmin(self.losses))])

    def loss(self, lr: float) -> float:
        """The final loss, infinite if a neighbour on the grid diverged."""
        position = float(np.interp(math.log(lr), np.log(self.lrs), np.arange(len(self.lrs))))
        left, share = int(position), position % 1
        if share < 1e-9:
            return float(self.losses[left])
        return float(self.losses[left] * (1 - share) + self.losses[left + 1] * share)

    def gap(self, lr: float) -> Gap:
        return self.gap_of_loss(self.loss(lr))

    def gap_of_loss(self, loss: float) -> Gap:
        """The gap of a training that ended with this loss, below 0 if it is better than all of the grid."""
        best = float(np.min(self.losses))
        if not math.isfinite(loss):
            return Gap(1.0, 1.0)
        linear = min(_CAP, (loss - best) / (self.initial - best))
        if best <= 0:
            return Gap(linear, linear)
        return Gap(linear, min(_CAP, math.log(loss / best) / math.log(self.initial / best)))


def final_losses(losses: Array) -> Array:
    """Mean of the last losses of each training, infinite if it diverged. Takes losses of shape [copies, steps]."""
    final = losses[:, -FINAL_STEPS:].mean(1)
    return np.where(np.isfinite(final), final, np.inf)


@cache
def truth_of(setting: str) -> dict[ScheduleName, Truth]:
    """The recorded final losses of a setting under each schedule."""
    with np.load(PATH) as data:
        initial = float(data[f"{setting}/initial"].mean())
        return {
            schedule: Truth(
                data[f"{setting}/{schedule}/lr"].astype(float),
                data[f"{setting}/{schedule}/loss"].astype(float).mean(0),
                initial,
            )
            for schedule in SCHEDULES
        }
