"""What a trial tells of its training: whether it has learned anything, still falls, and which differences matter."""

from __future__ import annotations

import math

import numpy as np

from lightning_lr.range_test.smoothing import Array

# The level at which a trial starts is the mean of so many costs. More would belong to the fall.
START_COSTS = 3
# A fall below this many standard errors is taken for noise.
LEARNED_NOISE = 2
# With fewer costs their noise is not known: a metric has four in a trial of 40 steps.
MIN_COSTS_FOR_NOISE = 10
# A trial that has more than this share of its fall in its last quarter is too short to judge by. On 27 settings of
# benchmarks/suite, all learning rates with a log gap above 0.26 were found by such trials.
LATE_SHARE = 0.2
# A trial that ends above another by at most this share of the other one's fall is as good. On a plateau, trials over a
# factor of 100 differ by less. They see the same batches, so the difference is no chance. But it does not tell which
# learning rate leaves the plateau. On the settings of benchmarks/suite the mean log gap of cycles is 0.006 lower with
# it. With 0.05, range tests on benchmarks/workloads take 50 steps more and find the same learning rates.
TIE_SHARE = 0.01
# The same of the largest fall that is taken for noise.
TIE_NOISE_SHARE = 0.05


def has_learned(costs: Array) -> bool:
    """Whether the mean of the last third is below the start by more than the noise of the two means.

    The noise of one cost is the standard deviation of the differences of neighbours, divided by sqrt(2). With fewer
    than ten costs it is not known, and any fall from the first to the last one counts.
    """
    if len(costs) < MIN_COSTS_FOR_NOISE:
        finite = costs[np.isfinite(costs)]
        return len(finite) == 1 or bool(len(finite) and finite[-1] < finite[0])
    return _fall(_changes(costs)) > _noise_of_fall(costs)


def negligible(costs: Array) -> float:
    """By how much the score of another trial may be above that of this one, and still be as good.

    A hundredth of the whole fall of this one, or a twentieth of the largest fall that would be noise if that is more.
    The noise of fewer than ten costs is not known, and counts as 0. Without a finite cost it is 0.
    """
    if not np.isfinite(costs).any():
        return 0.0
    noise = _noise_of_fall(costs) if len(costs) >= MIN_COSTS_FOR_NOISE else 0.0
    return max(TIE_SHARE * _fall(_changes(costs)), TIE_NOISE_SHARE * noise)


def still_falls(costs: Array) -> bool:
    """Whether the last quarter of a trial has more than a fifth of its whole fall.

    The fall of the last quarter is the mean of the third quarter less the mean of the fourth one. The whole fall is the
    start less the mean of the last third, at least 0.
    """
    changes = _changes(costs)
    quarter = len(costs) // 4
    if quarter == 0:
        return False
    late = float(np.nanmean(changes[-2 * quarter : -quarter]) - np.nanmean(changes[-quarter:]))
    return late > LATE_SHARE * max(0.0, _fall(changes))


def _changes(costs: Array) -> Array:
    """The costs less the first finite one, NaN where they are not finite. If all costs are equal, all are exactly 0."""
    finite: Array = np.where(np.isfinite(costs), costs, np.nan)
    first: float = finite[np.argmax(np.isfinite(finite))]
    return finite - first


def _noise_of_fall(costs: Array) -> float:
    """The largest fall that is taken for noise: see `has_learned`."""
    noise = float(np.nanstd(np.diff(_changes(costs)))) / math.sqrt(2)
    return LEARNED_NOISE * noise * math.sqrt(1 / START_COSTS + 1 / math.ceil(len(costs) / 3))


def _fall(changes: Array) -> float:
    """The mean of the first ones less that of the last third."""
    return float(np.nanmean(changes[:START_COSTS]) - np.nanmean(changes[-math.ceil(len(changes) / 3) :]))
