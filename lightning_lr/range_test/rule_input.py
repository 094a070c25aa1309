"""`RuleInput`: what the rules of the range test look at, measured once for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightning_lr.optimizers.update_kind import UpdateKind
from lightning_lr.range_test.curve import LRCurve, num_initial
from lightning_lr.range_test.smoothing import Array, smooth, smoothing_sigma

# All of these were chosen on the 24 recorded settings.
# Costs are cut off this many times |L0| above the initial level L0, so that a divergence does not outweigh the rest.
CAP_PER_INITIAL = 2
# The edge is where this share of the fall is lost again behind the minimum.
EDGE_SHARE = 0.5
# The noise is measured on this share of the points, from the start: what comes later is mostly the divergence.
NOISE_SHARE = 0.6
# Standard deviation of a normal distribution per median absolute deviation.
STD_PER_MAD = 1.4826
# What the formula of `dual` divides by. A sweep gives each learning rate one step. In a run with that rate the steps of
# momentum add up, and normalized ones do not get shorter where the gradient does. On the 24 recorded settings 4 to 6
# is best for Adam, on the settings of benchmarks/suite 8 to 10 for all normalized ones: 6 has the least mean over both.
# The updates of Adagrad shrink during the run, and 1 is best.
DIVISORS: Mapping[UpdateKind, float] = {"gradient": 1.0, "momentum": 4.0, "normalized": 6.0, "shrinking": 1.0}


@dataclass(frozen=True)
class RuleInput:
    """What a rule reads a learning rate from.

    Attributes:
        lrs: learning rates λ, shape [n].
        smoothed: smoothed cost s, shape [n].
        initial: initial level L0 of the cost.
        best: index m of the minimum of s.
        fall: ``D = L0 - s[m]``.
        noise: standard error of s.
        edge: first index from m on with ``s >= s[m] + 0.5 D``, None if there is none.
        k: the divisor of the optimizer, see `DIVISORS`.
        steps_per_point: optimizer steps between two points.
    """

    lrs: Array
    smoothed: Array
    initial: float
    best: int
    fall: float
    noise: float
    edge: int | None
    k: float
    steps_per_point: int = 1

    def lr_at(self, index: float) -> float:
        """The learning rate at an index, interpolated in log λ. Outside the curve it is that of the nearest end."""
        return float(np.exp(np.interp(index, np.arange(len(self.lrs)), np.log(self.lrs))))

    def slope(self) -> Array:
        """``ds / d log λ``, shape [n]. In a staircase all points of a step share one slope."""
        lrs, index = np.unique(self.lrs, return_inverse=True)
        means = np.bincount(index, self.smoothed) / np.bincount(index)
        slope: Array = np.gradient(means, np.log(lrs))[index]
        return slope


def rule_input(curve: LRCurve, update: UpdateKind, steps_per_point: int = 1) -> RuleInput:
    """Measure a curve.

    Args:
        curve: at least its first value must be finite.
        update: the kind of the optimizer's updates.
        steps_per_point: optimizer steps between two points.
    """
    lrs, cost = curve.lrs, curve.cost.copy()
    initial = float(np.mean(cost[: min(num_initial(lrs), curve.num_finite)]))
    cap = initial + CAP_PER_INITIAL * abs(initial)
    cost[curve.num_finite :] = cap
    cost = np.minimum(cost, cap)
    smoothed = smooth(cost)
    best = int(np.argmin(smoothed))
    fall = initial - float(smoothed[best])
    edge = first_index(smoothed[best:] >= smoothed[best] + EDGE_SHARE * fall)
    return RuleInput(
        lrs=lrs,
        smoothed=smoothed,
        initial=initial,
        best=best,
        fall=fall,
        noise=_standard_error(cost),
        edge=None if edge is None else best + edge,
        k=DIVISORS[update],
        steps_per_point=steps_per_point,
    )


def first_index(condition: NDArray[np.bool_]) -> int | None:
    """The first index at which a condition holds, None if there is none."""
    return int(np.argmax(condition)) if condition.any() else None


def _standard_error(cost: Array) -> float:
    """Of the smoothed cost: ``1.4826 MAD(diff cost) / sqrt(2) / sqrt(2 sqrt(pi) sigma)``.

    The difference of two neighbours has sqrt(2) times the deviation of one; the Gaussian mean divides it by
    sqrt(2 sqrt(pi) sigma).
    """
    steps = np.diff(cost[: int(NOISE_SHARE * len(cost))])
    deviation = STD_PER_MAD * float(np.median(np.abs(steps - np.median(steps)))) / np.sqrt(2)
    return float(deviation / np.sqrt(2 * np.sqrt(np.pi) * smoothing_sigma(len(cost))))
