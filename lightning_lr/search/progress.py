"""What a trial tells of its training: whether it has learned anything yet, and whether it is still at its beginning."""

from __future__ import annotations

import math

import numpy as np

from lightning_lr.range_test.smoothing import Array

# The level at which a trial starts is the mean of so many costs. More would belong to the fall.
START_COSTS = 3
# A fall below this many standard errors is taken for noise.
LEARNED_NOISE = 2
# A trial that has more than this share of its fall in its last quarter is too short to judge by. On the 27 settings of
# benchmarks/suite, all learning rates above 0.26 of the log gap were found by such trials.
LATE_SHARE = 0.2


def start_level(costs: Array) -> float:
    """The mean of the first finite costs."""
    return float(np.nanmean(_finite_or_nan(costs)[:START_COSTS]))


def has_learned(costs: Array) -> bool:
    """Whether the mean of the last third is below the start by more than the noise of the two means.

    The noise of one cost is the standard deviation of the differences of neighbours, divided by sqrt(2).
    """
    if len(costs) <= START_COSTS:
        return False
    finite = _finite_or_nan(costs)
    last = finite[-math.ceil(len(costs) / 3) :]
    noise = float(np.nanstd(np.diff(finite))) / math.sqrt(2)
    error = noise * math.sqrt(1 / START_COSTS + 1 / len(last))
    return start_level(costs) - float(np.nanmean(last)) > LEARNED_NOISE * error


def still_falls(costs: Array) -> bool:
    """Whether the last quarter of a trial has more than a fifth of its whole fall.

    The fall of the last quarter is the mean of the third quarter less the mean of the fourth one. The whole fall is the
    start less the mean of the last third. A trial that has not fallen is not past its beginning either.
    """
    finite = _finite_or_nan(costs)
    quarter = len(costs) // 4
    if quarter == 0:
        return False
    fall = start_level(costs) - float(np.nanmean(finite[-math.ceil(len(costs) / 3) :]))
    late = float(np.nanmean(finite[-2 * quarter : -quarter]) - np.nanmean(finite[-quarter:]))
    return late > LATE_SHARE * fall


def _finite_or_nan(costs: Array) -> Array:
    return np.where(np.isfinite(costs), costs, np.nan)
