"""Tells a bad batch from a learning rate that is too high."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

# A divergence shows before the loss overflows: the mean of so many costs before the first that is not finite is above
# all earlier ones.
_LATEST = 3


def first_bad_step(costs: Sequence[float]) -> int | None:
    """The step from which on no cost is finite, if the costs before it had not risen; None if there is none.

    Args:
        costs: one for each optimizer step, in order.
    """
    if not costs or math.isfinite(costs[-1]):
        return None
    finite = [i for i, cost in enumerate(costs) if math.isfinite(cost)]
    if not finite:
        return 0
    first = finite[-1] + 1
    row = np.array([costs[i] for i in finite])
    if len(row) > 2 * _LATEST and np.mean(row[-_LATEST:]) > np.max(row[:-_LATEST]):
        return None
    return first
