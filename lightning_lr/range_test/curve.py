"""`LRCurve`: learning rates and what was recorded at each; and the rule by which a sweep ends early."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

_FEWEST_POINTS = 10  # with fewer there is no telling a slope from noise


@dataclass(frozen=True, eq=False)
class LRCurve:
    """The curve of a range test.

    Args:
        lrs: learning rates, shape [n], above 0 and not falling, n at least 10.
        losses: what was recorded at each, shape [n], not smoothed. NaN or infinite where it was not finite and where
            the sweep did not get to.
        monitor: name of what was recorded.
        mode: whether less (``"min"``) or more (``"max"``) of it is better.

    Raises:
        ValueError: if the shapes differ, there are fewer than 10 points, or the learning rates are not as above.
    """

    lrs: Array
    losses: Array
    monitor: str = "loss"
    mode: Literal["min", "max"] = "min"

    def __init__(
        self, lrs: ArrayLike, losses: ArrayLike, monitor: str = "loss", mode: Literal["min", "max"] = "min"
    ) -> None:
        for name, value in (("lrs", lrs), ("losses", losses)):
            object.__setattr__(self, name, np.array(value, dtype=np.float64))
        object.__setattr__(self, "monitor", monitor)
        object.__setattr__(self, "mode", mode)
        if self.lrs.ndim != 1 or self.lrs.shape != self.losses.shape:
            raise ValueError(
                f"lrs and losses must be of one length, got shapes {self.lrs.shape} and {self.losses.shape}."
            )
        if len(self.lrs) < _FEWEST_POINTS:
            raise ValueError(f"A curve must have at least {_FEWEST_POINTS} points, got {len(self.lrs)}.")
        if not np.all(np.isfinite(self.lrs)) or self.lrs[0] <= 0 or np.any(np.diff(self.lrs) < 0):
            raise ValueError(f"lrs must be finite, above 0 and not falling, got {self.lrs.tolist()}.")
        if mode not in ("min", "max"):
            raise ValueError(f"mode must be 'min' or 'max', got {mode!r}.")

    @property
    def cost(self) -> Array:
        """What the rules minimise, shape [n]: the losses, or their negative with ``mode="max"``."""
        return self.losses if self.mode == "min" else -self.losses

    def smoothed(self) -> Array:
        """The losses smoothed by `smooth`, shape [n], NaN from the first that is not finite on."""
        ran = self.num_finite
        return np.concatenate([smooth(self.losses[:ran]), np.full(len(self.losses) - ran, np.nan)])

    @property
    def num_finite(self) -> int:
        """How many points there are before the first that is not finite."""
        bad = np.flatnonzero(~np.isfinite(self.losses))
        return int(bad[0]) if len(bad) else len(self.losses)

    def to_csv(self, path: str | Path) -> None:
        """Write two columns, ``lr`` and the monitored name."""
        with Path(path).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["lr", self.monitor])
            writer.writerows(zip(self.lrs.tolist(), self.losses.tolist(), strict=True))

    @classmethod
    def from_csv(cls, path: str | Path, mode: Literal["min", "max"] = "min") -> LRCurve:
        """Read what `to_csv` wrote. ``mode`` is not in the file."""
        with Path(path).open(newline="") as file:
            (_, monitor), *rows = csv.reader(file)
        return cls([float(lr) for lr, _ in rows], [float(loss) for _, loss in rows], monitor, mode)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and strings, for JSON and checkpoints; a value that is not finite is None."""
        losses = [loss if np.isfinite(loss) else None for loss in self.losses.tolist()]
        return {"lrs": self.lrs.tolist(), "losses": losses, "monitor": self.monitor, "mode": self.mode}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> LRCurve:
        """The curve that `to_dict` gave."""
        losses = [np.nan if loss is None else loss for loss in plain["losses"]]
        return cls(plain["lrs"], losses, plain["monitor"], plain["mode"])

    def to_json(self, path: str | Path) -> None:
        """Write `to_dict`."""
        Path(path).write_text(json.dumps(self.to_dict()) + "\n")

    @classmethod
    def from_json(cls, path: str | Path) -> LRCurve:
        """Read what `to_json` wrote."""
        return cls.from_dict(json.loads(Path(path).read_text()))


def smooth(values: Array) -> Array:
    """Centred Gaussian mean, σ = max(1, 0.03 n) points, cut off at 3σ, its weights summing to 1 at the ends too.

    >>> smooth(np.ones(5)).round(12).tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0]
    """
    radius = int(3 * smoothing_sigma(len(values)) + 0.5)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / smoothing_sigma(len(values))) ** 2)
    if len(values) == 0:
        return values
    total = np.convolve(values, kernel)[radius : radius + len(values)]
    weight = np.convolve(np.ones(len(values)), kernel)[radius : radius + len(values)]
    result: Array = total / weight
    return result


def smoothing_sigma(num_points: int) -> float:
    """The width of `smooth` in points."""
    return max(1.0, 0.03 * num_points)


def num_initial(lrs: Array) -> int:
    """How many points there are at which the learning rate is too small to have changed anything.

    Those whose cumulative learning rate is at most 1e-4 of the highest one; at least 3, at most a quarter of all.
    """
    return max(3, min(int(np.sum(np.cumsum(lrs) <= 1e-4 * np.max(lrs))), len(lrs) // 4))


def has_diverged(lrs: ArrayLike, losses: Sequence[float]) -> bool:
    """Whether a sweep should end: the last loss is not finite, or the loss has clearly left the level it began at.

    That is: the mean of the last max(3, n/40) losses exceeds ``L0 + 2 max(D, |L0|/4)``, with L0 the initial level and
    D the deepest fall of that mean below it. There is no ratio to the best loss, since losses can be negative, and
    more haste ruins what is read off the curve.

    Args:
        lrs: learning rates of the whole sweep, shape [n].
        losses: losses of the steps so far.
    """
    if not math.isfinite(losses[-1]):
        return True
    rates = np.asarray(lrs, dtype=np.float64)
    window, initial = max(3, len(rates) // 40), num_initial(rates)
    if len(losses) < initial + window:
        return False
    start = sum(losses[:initial]) / initial
    latest = sum(losses[-window:]) / window
    if latest <= start + abs(start) / 2:  # within the least that is allowed: asked for after every step of a sweep
        return False
    means = np.convolve(losses, np.full(window, 1 / window), "valid")
    fall = max(start - float(np.min(means)), abs(start) / 4)
    return latest > start + 2 * fall
