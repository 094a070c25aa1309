"""What is read off short trainings with one learning rate each: a score, whether to go on, and a verdict.

Costs are what was recorded, less being better, one value a step (or every few steps), from a state that all trainings
start from and on the same batches. So two of them can be compared step by step, and most of the noise of the batches
is in both and falls out.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
End = Literal["completed", "diverged", "behind"]
Verdict = Literal["very high", "high", "good", "low"]

# What the verdicts mean, in the words of the picture that every introduction to learning rates has.
MEANINGS: dict[Verdict, str] = {
    "very high": "diverges",
    "high": "fast start, worse end",
    "good": "the best, or nearly as good",
    "low": "learns slowly",
}
_AS_GOOD = 0.1  # share of the best one's fall that another may lack


def score(costs: Array) -> float:
    """The mean of the last third, infinite if any of the costs is not finite.

    >>> score(np.array([9.0, 9.0, 9.0, 9.0, 2.0, 4.0]))
    3.0
    """
    return float(np.mean(_last_third(costs))) if np.all(np.isfinite(costs)) else math.inf


def diverges(costs: Array, level: Array, total: int) -> bool:
    """Whether the last cost is not finite, or the costs have clearly left the level they would have without training.

    That is: over the last quarter of ``total``, at least 3 costs, they are on average more than ``2 max(D, |L|/4)``
    above the level L, with D the furthest that they were below it for as long: the rule by which a sweep ends. More
    haste would drop rates with which an adaptive optimizer starts wildly and then does well.

    Args:
        costs: so far, at least one.
        level: of a training with a learning rate so low that it changes little, step by step; where it ends, or if it
            is empty, only a cost that is not finite is a divergence.
        total: costs at the end.
    """
    if not math.isfinite(costs[-1]):
        return True
    n, window = len(costs), max(3, total // 4)
    if not window <= n <= len(level):
        return False
    gaps = np.convolve(costs - level[:n], np.full(window, 1 / window), "valid")
    least = abs(float(np.mean(level[n - window : n]))) / 4
    return bool(gaps[-1] > 2 * max(-float(np.min(gaps)), least))


def is_behind(costs: Array, rival: Array) -> bool:
    """Whether a training cannot come to a score as good as another one's any more.

    Asked from a third of the way on, and answered by two forecasts for the last third of it, which must agree, since
    either alone is wrong where the other one starts fast and ends badly, or where both are noisy. Each goes on with the
    change from the first half to the second half of what was run, if that was an improvement, and without one if not:

    * the cost itself stays above the other's score;
    * the gap to the other, cost by cost, stays above twice its noise.

    Args:
        costs: so far, shape [n], at least one.
        rival: of the other one to its end, shape [total].
    """
    n, total = len(costs), len(rival)
    if n < max(4, total / 3):
        return False
    gap = costs - rival[:n]
    noise = float(np.std(np.diff(gap))) / math.sqrt(n)
    return _forecast(gap, total) > 2 * noise and _forecast(costs, total) > score(rival)


def _forecast(row: Array, total: int) -> float:
    """The mean of the last third of ``total`` numbers, if the row goes on as it went down so far."""
    n = len(row)
    half = n // 2
    earlier, latest = float(np.mean(row[-2 * half : -half])), float(np.mean(row[-half:]))
    way = max(0.0, total * 5 / 6 - (n - half / 2))  # from the middle of the second half to that of the last third
    return latest + min(0.0, latest - earlier) / half * way


def verdict(lr: float, costs: Array, end: End, best_lr: float, best: Array) -> Verdict:
    """How a learning rate did, beside the best one.

    ``very high`` if it diverged; ``good`` if it ran to its end and lacked over its last third at most a tenth of what
    the best one had gained by then; else ``high`` above the best learning rate and ``low`` below it. So ``high`` is by
    the end alone: most of these start fast, but that is not asked.

    Args:
        lr: the learning rate.
        costs: what it ran.
        end: how that ended.
        best_lr: the best learning rate.
        best: what that one ran, from the same state on the same batches.
    """
    if end == "diverged":
        return "very high"
    of_best = _last_third(best[: len(costs)])
    gained = max(0.0, float(best[0] - np.mean(of_best)))
    if end == "completed" and float(np.mean(_last_third(costs) - of_best)) <= _AS_GOOD * gained:
        return "good"
    return "high" if lr > best_lr else "low"


def _last_third(costs: Array) -> Array:
    return costs[-math.ceil(len(costs) / 3) :]
