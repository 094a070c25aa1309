"""The rules by which other libraries read a learning rate off a sweep, with their smoothing, trimming and early stop.

They follow the formulas in the source code of these libraries, with the numbers that stand there. Lightning's rule is
called from the installed package. Every rule takes learning rates and raw losses, each of shape [n]. It returns a
learning rate, or None if the library finds none.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from lightning.pytorch.tuner.lr_finder import _LRFinder

from lightning_lr.range_test.smoothing import Array

RivalRule = Callable[[Array, Array], float | None]


def _ema(losses: Array, beta: float, debias_from: int | None) -> Array:
    """Exponential mean. ``debias_from``: exponent of the first bias correction, 1 where it is right, None for none."""
    mean, smoothed = 0.0 if debias_from is not None else losses[0], []
    for i, loss in enumerate(losses):
        mean = beta * mean + (1 - beta) * loss
        smoothed.append(mean if debias_from is None else mean / (1 - beta ** (i + debias_from)))
    return np.array(smoothed)


def _until_diverged(smoothed: Array, ratio: float) -> int:
    """How many points a library records before it stops at ``ratio`` times the best."""
    best = smoothed[0]
    for i, value in enumerate(smoothed):
        if value > ratio * best:
            return i + 1
        best = min(best, value) if np.isfinite(value) else best
    return len(smoothed)


def lightning(lrs: Array, losses: Array) -> float | None:
    """Lightning as installed, on the curve as its callback records it: the bias correction is one step late."""
    smoothed = _ema(losses, 0.98, debias_from=2)
    end = _until_diverged(smoothed, 4)
    finder = _LRFinder("exponential", lrs[0], lrs[-1], len(lrs))
    finder.results = {"lr": lrs[:end].tolist(), "loss": smoothed[:end].tolist()}
    return finder.suggestion()


def lightning_before_2_5_3(lrs: Array, losses: Array) -> float | None:
    """Lightning before 2.5.3: the steepest step, which on an exponential sweep is by log lr."""
    smoothed = _ema(losses, 0.98, debias_from=2)
    smoothed = smoothed[: _until_diverged(smoothed, 4)][10:-1]
    smoothed = smoothed[np.isfinite(smoothed)]
    return float(lrs[10 + int(np.gradient(smoothed).argmin())]) if len(smoothed) > 1 else None


def torch_lr_finder(lrs: Array, losses: Array) -> float | None:
    smoothed = _ema(losses, 0.95, debias_from=None)
    smoothed = smoothed[: _until_diverged(smoothed, 5)][10:-5]
    return float(lrs[10 + int(np.gradient(smoothed).argmin())]) if len(smoothed) > 1 else None


def ignite(lrs: Array, losses: Array) -> float | None:
    """Its handler records each learning rate one step ahead of the loss it is paired with, which costs it: without
    that step the mean regret on the recorded sweeps is 0.111 instead of 0.138."""
    smoothed = _ema(losses, 0.95, debias_from=None)
    smoothed = smoothed[: _until_diverged(smoothed, 5)]
    before_minimum = smoothed[: int(np.argmin(smoothed)) + 1]
    if len(before_minimum) < 3:
        return None
    steepest = 1 + int(np.argmin(before_minimum[2:] - before_minimum[:-2]))
    return float(lrs[min(steepest + 1, len(lrs) - 1)])


def _fastai(lrs: Array, losses: Array) -> tuple[Array, Array]:
    smoothed = _ema(losses, 0.98, debias_from=1)
    end = _until_diverged(smoothed, 4)
    cut = slice(len(lrs) // 10, max(end - 5, len(lrs) // 10 + 2))
    lrs, smoothed = lrs[cut], smoothed[cut]
    bad = np.flatnonzero(np.isnan(smoothed))
    last = int(bad[0]) if len(bad) else len(smoothed)
    return lrs[:last], smoothed[:last]


def fastai_valley(lrs: Array, losses: Array) -> float | None:
    lrs, smoothed = _fastai(lrs, losses)
    if len(smoothed) == 0:
        return None
    longest = np.ones(len(smoothed), dtype=int)  # decreasing subsequence that ends here
    for i in range(1, len(smoothed)):
        for j in range(i):
            if smoothed[i] < smoothed[j]:
                longest[i] = max(longest[i], longest[j] + 1)
    end = int(longest.argmax())
    start = end - int(longest[end])
    third = (end - start) / 3
    return float(lrs[start + int(third) + int(third / 2)])


def fastai_slide(lrs: Array, losses: Array) -> float | None:
    lrs, smoothed = _fastai(lrs, losses)
    if len(smoothed) < 17:
        return None
    slope = np.gradient(smoothed)
    right, left = -1, -16
    found = float(lrs[left])
    while left >= -len(smoothed) and abs(slope[right] - slope[left]) > 0.005:
        found = float(lrs[left])
        right, left = right - 1, left - 1
    return found


def fastai_steep(lrs: Array, losses: Array) -> float | None:
    lrs, smoothed = _fastai(lrs, losses)
    return float(lrs[int(np.argmin(np.diff(smoothed) / np.diff(np.log(lrs))))]) if len(smoothed) > 1 else None


def fastai_minimum(lrs: Array, losses: Array) -> float | None:
    lrs, smoothed = _fastai(lrs, losses)
    return float(lrs[int(smoothed.argmin())]) / 10 if len(smoothed) else None


RIVALS: dict[str, RivalRule] = {
    "Lightning, installed": lightning,
    "Lightning before 2.5.3": lightning_before_2_5_3,
    "torch-lr-finder": torch_lr_finder,
    "ignite": ignite,
    "fastai valley": fastai_valley,
    "fastai slide": fastai_slide,
    "fastai steep": fastai_steep,
    "fastai minimum/10": fastai_minimum,
}
