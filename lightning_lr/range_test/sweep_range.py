"""Whether a sweep has seen what it was made for: a flat start, and an edge."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lightning_lr.range_test.curve import MIN_POINTS, LRCurve
from lightning_lr.range_test.rule_input import first_index, rule_input
from lightning_lr.range_test.rules import FLAT_NOISE
from lightning_lr.range_test.smoothing import Array
from lightning_lr.range_test.suggestion import CONFIDENT_NOISE

# A sweep that begins too high is run again from this factor below, and one that ends too low goes on up to this
# factor above: four decades.
EXTENSION = 1e4
# The loss still falls if its minimum is among the last points: this share of them. A round number.
LAST_SHARE = 0.05
# A sweep begins too high if it ends within this share of its points, or if the loss has half of a clear fall within
# them. Smaller changes at the start are noise in most of the recorded sweeps.
START_SHARE = 0.2
HALF = 0.5
# A fall is clear if it is at least this share of the initial level, and above the noise.
CLEAR_SHARE = 0.05


def begins_too_high(lrs: NDArray[np.float64], losses: Sequence[float]) -> bool:
    """Whether the loss changes from the first points on: the sweep ends almost at once, or the loss falls at once.

    Args:
        lrs: learning rates of the whole sweep, shape [n].
        losses: finite costs of its first points, not smoothed, fewer if it ended early.
    """
    first = int(START_SHARE * len(lrs))
    if len(losses) <= first:
        return True
    curve = rule_input(_curve(lrs, losses), "normalized")
    falls = first_index(curve.smoothed <= curve.initial - HALF * curve.fall)
    least = max(CONFIDENT_NOISE * curve.noise, CLEAR_SHARE * abs(curve.initial))
    return curve.fall > least and falls is not None and falls < first


def still_falls_at_end(lrs: NDArray[np.float64], losses: Sequence[float]) -> bool:
    """Whether the smoothed loss has its minimum at the end, by more than the noise.

    Args:
        lrs: learning rates of the points, shape [n].
        losses: finite costs, one for each.
    """
    if len(losses) < MIN_POINTS:
        return False
    curve = rule_input(_curve(lrs, losses), "normalized")
    last = max(1, int(LAST_SHARE * len(losses)))
    return curve.best >= len(losses) - last and curve.fall > FLAT_NOISE * curve.noise


def _curve(lrs: NDArray[np.float64], losses: Sequence[float]) -> LRCurve:
    padded: Array = np.full(len(lrs), np.nan)
    padded[: len(losses)] = losses
    return LRCurve(lrs, padded)
