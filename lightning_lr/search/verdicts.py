"""How short trainings with one learning rate each are judged: a score, an early end, and a verdict.

A cost is a recorded value, negated where more is better. Each training gives one cost a step, or every few steps. All
trainings start from one state and see the same batches. So two of them can be compared step by step: most of the noise
of the batches is in both, and the difference is nearly free of it.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from lightning_lr.range_test.smoothing import Array
from lightning_lr.search.progress import are_positive, fall, finite_mean, last_third, negligible

End = Literal["completed", "diverged", "dropped"]
Verdict = Literal["very high", "high", "good", "low"]

# The words of the usual picture of learning rates that are too high and too low.
MEANINGS: dict[Verdict, str] = {
    "very high": "diverges",
    "high": "fast start, worse end",
    "good": "the best, or nearly as good",
    "low": "learns slowly",
}
# The following are round numbers. The search was measured with them on the five tasks of benchmarks/tasks.py.
#
# Divergence: the mean gap to the level over this share of the trial, and over at least so many costs. A shorter window
# would drop learning rates with which an adaptive optimizer starts wildly and then does well.
WINDOW_SHARE = 1 / 4
MIN_WINDOW = 3
# The gap must be this many times the fall, which counts as at least the level. A sweep ends at a quarter of that, since
# its learning rate goes on to rise. In a trial it does not: the loss of a fine-tuned network often rises by half in the
# first steps, with the learning rate that ends best.
RISE_PER_FALL = 2
# Dropping: not before this share of the trial, nor before so many costs, since a forecast needs three thirds. In 126
# recorded range tests this saved 77 of 751 steps, compared with a third of the trial and the halves of the costs.
DROP_SHARE = 1 / 4
MIN_COSTS_TO_DROP = 3
# So many forecasts in a row must say the same: one alone may be the chance of a single batch.
FORECASTS_IN_A_ROW = 3
# The gap to the rival must stay above so many standard deviations of its mean.
DROP_NOISE = 1
# One batch may give a loss that is not finite, in a model that goes on unharmed. So many in a row are a divergence.
NON_FINITE_IN_A_ROW = 3
# "good" may lack this share of what the best one has gained.
GOOD_LACK = 0.1


def score(costs: Array) -> float:
    """The mean of the finite ones in the last third, infinite if there are none.

    >>> score(np.array([9.0, 9.0, 9.0, 9.0, 2.0, 4.0]))
    3.0
    """
    return finite_mean(last_third(costs))


def diverges(costs: Array, level: Array, total: int) -> bool:
    """Whether the last costs are not finite, or the costs are far above those of a training that learns nothing.

    Three costs in a row that are not finite are a divergence. Fewer are left out. With g the mean of ``costs - level``
    over the last max(3, total/4) costs, D the largest value that ``-g`` had so far, and L the mean of the level over
    all steps so far, a training also diverges if ``g > 2 max(D, |L|)``.

    Args:
        costs: so far, at least one.
        level: the costs of a training with a learning rate so low that it changes little. Where this is shorter than
            ``costs``, it goes on with its mean. If it is empty, only costs that are not finite are a divergence.
        total: number of costs at the end.
    """
    n, window = len(costs), max(MIN_WINDOW, int(WINDOW_SHARE * total))
    if n >= NON_FINITE_IN_A_ROW and not np.isfinite(costs[-NON_FINITE_IN_A_ROW:]).any():
        return True
    if n < window or not np.isfinite(level).any():
        return False
    level = _finite(level[:n])
    if len(level) < n:
        level = np.concatenate([level, np.full(n - len(level), np.mean(level))])
    gap = _finite(_gap(costs, level))
    min_fall = abs(float(level.mean()))
    if (gap[-window:] / window).sum() <= RISE_PER_FALL * min_fall:  # saves the convolution at almost every step
        return False
    gaps = np.convolve(gap, np.full(window, 1 / window), "valid")
    return bool(gaps[-1] > RISE_PER_FALL * max(-float(np.min(gaps)), min_fall))


def is_behind(costs: Array, rival: Array) -> bool:
    """Whether a training cannot reach the score of a rival any more.

    For three costs in a row, each after a quarter of the trial or more, two forecasts of the mean over its last third
    must both say so:

    * the forecast cost is above the rival's score;
    * the forecast gap (cost - rival, step by step) is above its noise, and is not `negligible`.

    Each alone is wrong in some cases: the first where both are noisy, the second where the rival starts fast and ends
    badly. A forecast is the mean of the last third of the costs so far. If that is below the third before, they go on
    to fall at that slope. A training that learns late falls fast then, which a mean over all costs would hide.

    Args:
        costs: so far, shape [n], at least one.
        rival: all costs of the rival, shape [total].
    """
    lengths = range(len(costs) - FORECASTS_IN_A_ROW + 1, len(costs) + 1)
    return all(_is_behind_after(n, costs, rival) for n in lengths)


def _is_behind_after(n: int, costs: Array, rival: Array) -> bool:
    total = len(rival)
    if n < max(MIN_COSTS_TO_DROP, DROP_SHARE * total):
        return False
    if not _forecast(_finite(costs[:n]), total) > score(rival):
        return False
    gap = _finite(_gap(costs[:n], rival[:n]))
    noise = float(np.std(np.diff(gap))) / math.sqrt(2 * (n // 3))  # of the mean of a third
    forecast = _forecast(gap, total)
    return forecast > DROP_NOISE * noise and forecast > negligible(rival)


def _forecast(row: Array, total: int) -> float:
    """The mean of the last third of ``total`` numbers, if the row goes on to fall as it fell in its last two thirds."""
    third = len(row) // 3
    earlier, latest = float(row[-2 * third : -third].mean()), float(row[-third:].mean())
    middle_of_last_third = total * 5 / 6
    distance = max(0.0, middle_of_last_third - (len(row) - third / 2))  # from the middle of the latest
    return latest + min(0.0, latest - earlier) / third * distance


def verdict(lr: float, costs: Array, end: End, best_lr: float, best: Array) -> Verdict:
    """How a learning rate did, compared with the best one.

    ``very high`` if it diverged. ``good`` if it ran all its steps, and its mean cost over its last third is above that
    of the best one by what is `negligible`, or by a `fall` that is at most a tenth of that of the best one by then.
    Else ``high`` above the best learning rate and ``low`` below it. A fast start is not a condition of ``high``, though
    most of these have one.

    Args:
        lr: the learning rate.
        costs: its costs.
        end: how its training ended.
        best_lr: the best learning rate.
        best: the costs of the best learning rate.
    """
    if end == "diverged":
        return "very high"
    if end == "completed" and _is_good(costs[: len(best)], best[: len(costs)]):
        return "good"
    return "high" if lr > best_lr else "low"


def _is_good(costs: Array, best: Array) -> bool:
    of_best = last_third(best)
    first, last, gap = float(_finite(best)[0]), finite_mean(of_best), finite_mean(_gap(last_third(costs), of_best))
    if gap <= negligible(best):
        return True
    positive = are_positive(best) and are_positive(costs) and math.isfinite(gap)
    return fall(last + gap, last, positive) <= GOOD_LACK * max(0.0, fall(first, last, positive))


def _gap(costs: Array, others: Array) -> Array:
    """The differences, not finite where one of the two is not."""
    with np.errstate(invalid="ignore"):  # inf - inf
        return costs - others


def _finite(costs: Array) -> Array:
    """The costs with interpolated ones in the place of those that are not finite."""
    finite = np.isfinite(costs)
    if finite.all() or not finite.any():
        return costs
    at = np.arange(len(costs))
    return np.interp(at, at[finite], costs[finite])
