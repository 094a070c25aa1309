"""Rules that read a learning rate and the bounds of a cycle off the curve of a range test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lightning_lr.range_test.curve import Array, LRCurve, num_initial, smooth, smoothing_sigma

Rule = Literal["dual", "smith", "minimum", "valley", "slide", "steepest"]


@dataclass(frozen=True)
class Suggestion:
    """What a rule reads off a curve.

    Attributes:
        lr: a constant learning rate to train with.
        base_lr: lower bound of a cycle.
        max_lr: upper bound of a cycle.
        one_cycle_max_lr: peak of a one-cycle schedule.
        confident: whether the curve shows clearly enough what the rules look for.
        reasons: why not, one sentence a condition that failed.
    """

    lr: float
    base_lr: float
    max_lr: float
    one_cycle_max_lr: float
    confident: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class _Reading:
    """What all rules look at.

    ``lrs`` and ``smoothed`` have shape [n]. ``level`` is the cost at the start, ``best`` the index of the smoothed
    minimum, ``fall`` the way down to it, ``noise`` the standard error of the smoothed cost, and ``edge`` the first
    index behind the minimum at which half of the fall is lost again, None if there is none.
    """

    lrs: Array
    smoothed: Array
    level: float
    best: int
    fall: float
    noise: float
    edge: int | None

    def lr_at(self, index: float) -> float:
        """The learning rate at an index, between two points on the log scale, clipped to the curve."""
        return float(np.exp(np.interp(index, np.arange(len(self.lrs)), np.log(self.lrs))))


def suggest(curve: LRCurve, rule: Rule = "dual", momentum: bool = True) -> Suggestion:
    """A learning rate and the bounds of a cycle, read off a curve.

    The cost l (the losses, negated where more is better) is capped at ``L0 + 2 |L0|``, with L0 its mean over the first
    points, and held at the cap from the first value that is not finite on. It is smoothed by a centred Gaussian
    (`lightning_lr.range_test.curve.smooth`) to s; m is the index of its minimum, ``D = L0 - s[m]``, and the standard
    error of s is ``se = 1.4826 MAD(diff l) / sqrt(2) / sqrt(2 sqrt(pi) sigma)``.

    Rules, with λ(i) the learning rate at index i and k = 4 with momentum or second moments, else 1:

    * ``dual``: ``λ(i1 - 4)^0.3 λ(i2 - 4)^0.7 / k``, where s first has 90 % of its fall at i1, and behind m first has
      lost half of it again at i2. If nothing was learned (``D <= 2 se``): ``λ(i2 - 4) / (3 k)`` with i2 the first index
      at which ``s >= L0 + 6 se``.
    * ``smith``: ``λ(m) / 3``, a third of the learning rate at which s gets worse.
    * ``minimum``: a tenth of λ(m).
    * ``valley``: two thirds down the longest descent of s.
    * ``slide``: the last learning rate before the descent of s ends.
    * ``steepest``: the learning rate at which s falls fastest, by log λ.

    ``max_lr`` is 2 lr (1.4 lr if k = 1), the peak of one cycle the same, ``base_lr`` a quarter of ``max_lr``; for
    ``smith`` they are the learning rates at which s starts to fall and gets worse. ``confident`` says that
    ``D >= 0.2 |L0|``, that ``D > 10 se``, and that s rises again: whatever the rule, since it tells of the curve.

    Args:
        curve: what was recorded.
        rule: how it is read.
        momentum: whether the optimizer has momentum or second moments.

    Raises:
        ValueError: for an unknown rule, or a curve with less than three finite values at its start.

    References:
        Leslie N. Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, arXiv:1506.01186 (``smith``).
        The other rivals are as fastai has them, with the smoothing used here.
    """
    if rule not in _RULES:
        raise ValueError(f"rule must be one of {', '.join(_RULES)}, got {rule!r}.")
    if curve.num_finite < 3:
        raise ValueError(
            f"The curve must start with at least 3 finite values, got {curve.losses[:3].tolist()}: lower min_lr, or"
            " look for what makes the loss overflow."
        )
    reading = _read(curve)
    found = _RULES[rule](reading, 4.0 if momentum else 1.0)
    lr, base_lr, max_lr = found if isinstance(found, tuple) else (found, None, None)
    return with_bounds(lr, momentum, _reasons(reading, curve.monitor), base_lr, max_lr)


def with_bounds(
    lr: float, momentum: bool, reasons: tuple[str, ...], base_lr: float | None = None, max_lr: float | None = None
) -> Suggestion:
    """A learning rate and the bounds that go with it, where they are not given, see `suggest`."""
    max_lr = max_lr if max_lr is not None else (2.0 if momentum else 1.4) * lr
    return Suggestion(
        lr=lr,
        base_lr=base_lr if base_lr is not None else max_lr / 4,
        max_lr=max_lr,
        # 2.8 lr gains 0.003 of regret on the recorded settings, and loses 0.05 on tasks apart from them
        one_cycle_max_lr=max_lr,
        confident=not reasons,
        reasons=reasons,
    )


def _read(curve: LRCurve) -> _Reading:
    lrs, cost = curve.lrs, curve.cost.copy()
    level = float(np.mean(cost[: min(num_initial(lrs), curve.num_finite)]))
    cap = level + 2 * abs(level)
    cost[curve.num_finite :] = cap
    cost = np.minimum(cost, cap)
    smoothed = smooth(cost)
    best = int(np.argmin(smoothed))
    fall = level - float(smoothed[best])
    steps = np.diff(cost[: int(0.6 * len(cost))])
    deviation = 1.4826 * float(np.median(np.abs(steps - np.median(steps)))) / np.sqrt(2)
    noise = deviation / np.sqrt(2 * np.sqrt(np.pi) * smoothing_sigma(len(cost)))
    edge = _first(smoothed[best:] >= smoothed[best] + 0.5 * fall)
    return _Reading(lrs, smoothed, level, best, fall, float(noise), None if edge is None else best + edge)


def _first(condition: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> int | None:
    return int(np.argmax(condition)) if condition.any() else None


def _reasons(reading: _Reading, monitor: str) -> tuple[str, ...]:
    reasons = []
    if reading.fall < 0.2 * abs(reading.level):
        share = 100 * reading.fall / abs(reading.level) if reading.level else 0.0
        reasons.append(f"{monitor} improved by only {share:.1f} % of its initial value (20 % are asked for)")
    if reading.fall <= 10 * reading.noise:
        reasons.append(f"the improvement of {monitor} is less than 10 times its noise")
    if reading.edge is None or reading.fall <= 2 * reading.noise:
        reasons.append(f"no divergence was reached up to lr={reading.lrs[-1]:.3g}: raise max_lr")
    return tuple(reasons)


def _dual(reading: _Reading, k: float) -> float:
    last = len(reading.lrs) - 1
    if reading.fall > 2 * reading.noise:
        fallen = _first(reading.smoothed <= reading.level - 0.9 * reading.fall)
        edge = last if reading.edge is None else reading.edge
        return float(reading.lr_at((fallen or 0) - 4) ** 0.3 * reading.lr_at(edge - 4) ** 0.7 / k)
    risen = _first(reading.smoothed >= reading.level + 6 * reading.noise)
    return reading.lr_at((last if risen is None else risen) - 4) / (3 * k)


def _smith(reading: _Reading, k: float) -> tuple[float, float, float]:  # noqa: ARG001
    """max_lr where the curve gets worse, base_lr where it starts to fall or a quarter of max_lr, whichever is less."""
    max_lr = reading.lr_at(reading.best)
    starts = _first(reading.smoothed <= reading.level - 0.1 * reading.fall)
    base_lr = max_lr / 4 if starts is None else min(reading.lr_at(starts), max_lr / 4)
    return max_lr / 3, base_lr, max_lr


def _minimum(reading: _Reading, k: float) -> float:  # noqa: ARG001
    return reading.lr_at(reading.best) / 10


def _valley(reading: _Reading, k: float) -> float:  # noqa: ARG001
    falls = np.diff(reading.smoothed) < 0
    length, end = 0, 0
    run = 0
    for i, is_falling in enumerate(falls):
        run = run + 1 if is_falling else 0
        if run > length:
            length, end = run, i + 1
    return reading.lr_at(end - length / 3)


def _slide(reading: _Reading, k: float) -> float:  # noqa: ARG001
    """The last index before the minimum at which the slope by log lr is at least a tenth of the steepest."""
    slope = _slope(reading)[: reading.best + 1]
    steep = np.flatnonzero(slope <= 0.1 * min(slope.min(), 0.0))
    return reading.lr_at(int(steep[-1]) if len(steep) else reading.best)  # it only rises


def _steepest(reading: _Reading, k: float) -> float:  # noqa: ARG001
    return reading.lr_at(int(np.argmin(_slope(reading))))


def _slope(reading: _Reading) -> Array:
    """ds / d log λ; a staircase has its slope where the learning rate changes."""
    rates, index = np.unique(reading.lrs, return_inverse=True)
    means = np.bincount(index, reading.smoothed) / np.bincount(index)
    slope: Array = np.gradient(means, np.log(rates))[index]
    return slope


_RULES: dict[Rule, Callable[[_Reading, float], float | tuple[float, float, float]]] = {
    "dual": _dual,
    "smith": _smith,
    "minimum": _minimum,
    "valley": _valley,
    "slide": _slide,
    "steepest": _steepest,
}
RULES: tuple[Rule, ...] = tuple(_RULES)
