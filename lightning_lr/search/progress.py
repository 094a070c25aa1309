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
# A trial whose last quarter has more than this share of its whole fall is too short to judge by. On 27 settings of
# benchmarks/suite, all learning rates with a log gap above 0.26 were found by such trials.
LATE_SHARE = 0.2
# A trial that ends above another by at most this share of the other one's fall is as good. On a plateau, trials over a
# factor of 100 differ by less. They see the same batches, so the difference is no chance. But it does not tell which
# learning rate leaves the plateau.
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
    return _start(costs) - _end(costs) > _noise_of_fall(costs)


def negligible(costs: Array) -> float:
    """By how much the score of another trial may be above that of this one, and still be as good.

    A hundredth of the whole `fall` of this one, or a twentieth of the largest fall that would be noise if that is more.
    The noise is that of the last third: where a loss falls fast at first, these differences are no noise of its end.
    With fewer than ten costs it is not known, and counts as 0. Without a finite cost it is 0.
    """
    if not np.isfinite(costs).any():
        return 0.0
    start, end = _start(costs), _end(costs)
    tie = TIE_SHARE * fall(start, end, are_positive(costs))
    noise = _noise_of_fall(costs, len(costs) - len(last_third(costs))) if len(costs) >= MIN_COSTS_FOR_NOISE else 0.0
    return max(end * math.expm1(tie) if are_positive(costs) else tie, TIE_NOISE_SHARE * noise, 0.0)


def still_falls(costs: Array, positive: bool) -> bool:
    """Whether the last quarter of a trial has more than a fifth of its whole `fall`, which counts as at least 0.

    The last quarter falls from the mean of the third quarter to the mean of the fourth one, the whole trial from the
    mean of its first costs to that of its last third.

    Args:
        costs: of the trial.
        positive: whether a fall counts by logarithms.
    """
    third, fourth = last_quarters(costs)
    if not (math.isfinite(third) and math.isfinite(fourth)):
        return False
    return fall(third, fourth, positive) > LATE_SHARE * max(0.0, fall(_start(costs), _end(costs), positive))


def last_quarters(costs: Array) -> tuple[float, float]:
    """The means of the third and the fourth quarter, infinite where there is none, or no finite cost."""
    quarter = len(costs) // 4
    third, fourth = slice(-2 * quarter, -quarter), slice(len(costs) - quarter, None)
    return finite_mean(costs[third]), finite_mean(costs[fourth])


def fall(before: float, after: float, positive: bool) -> float:
    """How far costs have fallen: log(before / after) if all costs are positive, else before - after.

    A loss that halves every 50 steps is not settled, however small it has become.
    """
    return math.log(before) - math.log(after) if positive else before - after


def last_third(costs: Array) -> Array:
    """The last third of the costs, by which a trial is judged. Its length is rounded up."""
    return costs[-math.ceil(len(costs) / 3) :]


def finite_mean(costs: Array) -> float:
    """The mean of the finite ones, infinite if there are none. That of equal costs is exactly each of them."""
    finite = costs[np.isfinite(costs)]
    return float(finite[0] + (finite - finite[0]).mean()) if len(finite) else math.inf


def are_positive(costs: Array) -> bool:
    """Whether all finite costs are above 0."""
    return bool((costs[np.isfinite(costs)] > 0).all())


def _start(costs: Array) -> float:
    """The mean of the finite ones of the first costs, or the first finite one if these have none."""
    start = finite_mean(costs[:START_COSTS])
    return start if math.isfinite(start) else finite_mean(costs[: int(np.argmax(np.isfinite(costs))) + 1])


def _end(costs: Array) -> float:
    return finite_mean(last_third(costs))


def _noise_of_fall(costs: Array, first: int = 0) -> float:
    """The largest fall that is taken for noise: see `has_learned`. It is measured from the first of these costs on."""
    with np.errstate(invalid="ignore"):  # inf - inf
        differences = np.diff(costs[first:])
    differences = differences[np.isfinite(differences)]
    noise = float(np.std(differences)) / math.sqrt(2) if len(differences) else 0.0
    return LEARNED_NOISE * noise * math.sqrt(1 / START_COSTS + 1 / len(last_third(costs)))
