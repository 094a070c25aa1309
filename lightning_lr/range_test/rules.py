"""The rules that read a learning rate off the curve of a range test.

To add a rule: write a function ``RuleInput -> RuleResult``, name it in `Rule` and in `RULES` at the end of this file,
and describe it in `suggest`. The figure, the argument ``rule`` of `LRRangeTest` and the benchmark take it from there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import numpy as np

from lightning_lr.range_test.rule_input import RuleInput, first_index

# `dual`: all chosen on the 24 recorded settings. Its mean regret there changes little around these values.
FALLEN_SHARE = 0.9  # share of the fall D after which the curve has come down
FALLEN_WEIGHT, EDGE_WEIGHT = 0.3, 0.7  # exponents in the geometric mean of the two learning rates
LAG = 4  # optimizer steps that the rule goes back from each index: the loss shows a learning rate late
MIN_LAG = 1  # the same in points, of several steps each: s is smoothed over at least as much
FLAT_NOISE = 2  # standard errors: a smaller fall is taken for noise, the curve for flat
RISEN_NOISE = 6  # standard errors above L0 at which a flat curve has diverged
FLAT_DIVISOR = 3  # a flat curve shows only where training diverges: stay this factor below

# `smith`: Smith (2017) advises a base_lr of a third or a quarter of max_lr.
SMITH_LR_DIVISOR = 3
SMITH_BASE_LR_DIVISOR = 4
SMITH_START_SHARE = 0.1  # share of the fall D after which the curve has begun to fall; a round number

# The rules of fastai, with the smoothing of this package instead of fastai's.
MINIMUM_DIVISOR = 10  # as in fastai
VALLEY_DIVISOR = 3  # stop this part of the descent above its end; fastai stops in the middle
SLIDE_SHARE = 0.1  # share of the steepest slope below which the descent has ended; a round number


class RuleResult(NamedTuple):
    """What a rule reads off a curve.

    Attributes:
        lr: a constant learning rate.
        base_lr: lower bound of a cycle, None to follow from ``max_lr``.
        max_lr: upper bound of a cycle, None to follow from ``lr``.
    """

    lr: float
    base_lr: float | None = None
    max_lr: float | None = None


def dual(curve: RuleInput) -> RuleResult:
    """``λ(i1 - q)^0.3 λ(i2 - q)^0.7 / k``: between the end of the fall i1 and the edge of divergence i2.

    i1 is the first index with ``s <= L0 - 0.9 D``, i2 the first from m on with ``s >= s[m] + 0.5 D``. If nothing was
    learned, ``D <= 2 se``, the result is ``λ(i2 - q) / (3 k)`` with i2 the first index with ``s >= L0 + 6 se``. If no
    index fulfils its condition, i2 is the last one. q is 4 steps in points, at least 1: 4 where each step has a point.
    """
    lag = max(MIN_LAG, LAG / curve.steps_per_point)
    last = len(curve.lrs) - 1
    if curve.fall > FLAT_NOISE * curve.noise:
        fallen = first_index(curve.smoothed <= curve.initial - FALLEN_SHARE * curve.fall) or 0
        edge = last if curve.edge is None else curve.edge
        lr = curve.lr_at(fallen - lag) ** FALLEN_WEIGHT * curve.lr_at(edge - lag) ** EDGE_WEIGHT / curve.k
        return RuleResult(float(lr))
    risen = first_index(curve.smoothed >= curve.initial + RISEN_NOISE * curve.noise)
    return RuleResult(curve.lr_at((last if risen is None else risen) - lag) / (FLAT_DIVISOR * curve.k))


def smith(curve: RuleInput) -> RuleResult:
    """``λ(m) / 3``, with ``max_lr = λ(m)``, and ``base_lr`` where s starts to fall, at most ``max_lr / 4``.

    References:
        Leslie N. Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, arXiv:1506.01186.
    """
    max_lr = curve.lr_at(curve.best)
    starts = first_index(curve.smoothed <= curve.initial - SMITH_START_SHARE * curve.fall)
    highest_base_lr = max_lr / SMITH_BASE_LR_DIVISOR
    base_lr = highest_base_lr if starts is None else min(curve.lr_at(starts), highest_base_lr)
    return RuleResult(max_lr / SMITH_LR_DIVISOR, base_lr, max_lr)


def minimum(curve: RuleInput) -> RuleResult:
    """``λ(m) / 10``: a tenth of the learning rate at the minimum."""
    return RuleResult(curve.lr_at(curve.best) / MINIMUM_DIVISOR)


def valley(curve: RuleInput) -> RuleResult:
    """Two thirds down the longest descent of s."""
    longest, end = 0, 0
    length = 0
    for i, is_falling in enumerate(np.diff(curve.smoothed) < 0):
        length = length + 1 if is_falling else 0
        if length > longest:
            longest, end = length, i + 1
    return RuleResult(curve.lr_at(end - longest / VALLEY_DIVISOR))


def slide(curve: RuleInput) -> RuleResult:
    """The last learning rate before the minimum with a slope ``ds / d log λ`` of at least a tenth of the steepest."""
    slope = curve.slope()[: curve.best + 1]
    steep = np.flatnonzero(slope <= SLIDE_SHARE * min(slope.min(), 0.0))
    return RuleResult(curve.lr_at(int(steep[-1]) if len(steep) else curve.best))  # none if s only rises: best is 0


def steepest(curve: RuleInput) -> RuleResult:
    """The learning rate at which s falls fastest, by log λ."""
    return RuleResult(curve.lr_at(int(np.argmin(curve.slope()))))


Rule = Literal["dual", "smith", "minimum", "valley", "slide", "steepest"]
RULES: Mapping[Rule, Callable[[RuleInput], RuleResult]] = {
    "dual": dual,
    "smith": smith,
    "minimum": minimum,
    "valley": valley,
    "slide": slide,
    "steepest": steepest,
}
