"""`LRCurve`: the learning rates of a sweep, and what was recorded at each."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from lightning_lr.arguments import checked, choice, instance_of, key, path, refuse
from lightning_lr.range_test.arrays import array
from lightning_lr.range_test.smoothing import Array, num_finite, smooth

MODES = ("min", "max")
# With fewer points a slope cannot be told from noise.
MIN_POINTS = 10
# The first points show the initial level: the learning rates so far add up to at most this share of the highest one,
# too little to have changed anything. Chosen on the 24 recorded settings.
INITIAL_LR_SHARE = 1e-4
# The initial level is a mean of at least so many points, and of at most one in four.
MIN_INITIAL = 3
MAX_INITIAL_DIVISOR = 4


@checked(lrs=array, losses=array, monitor=key, mode=choice(MODES))
@dataclass(frozen=True, eq=False, repr=False)
class LRCurve:
    """The curve of a range test.

    Args:
        lrs: learning rates, shape [n], above 0 and not falling, n at least 10.
        losses: what was recorded at each, shape [n], not smoothed. NaN or infinite where the loss was not finite, and
            where the sweep had ended.
        monitor: name of what was recorded.
        mode: whether less (``"min"``) or more (``"max"``) of it is better.

    Raises:
        ValueError: if the shapes differ, there are fewer than 10 points, or the learning rates are not as above.
    """

    lrs: Array
    losses: Array
    monitor: str = "loss"
    mode: Literal["min", "max"] = "min"

    if TYPE_CHECKING:  # lists will do, for type checkers too

        def __init__(
            self, lrs: ArrayLike, losses: ArrayLike, monitor: str = "loss", mode: Literal["min", "max"] = "min"
        ) -> None: ...

    def __post_init__(self) -> None:
        if self.lrs.ndim != 1 or self.lrs.shape != self.losses.shape:
            raise ValueError(
                f"lrs and losses must be of one length, got shapes {self.lrs.shape} and {self.losses.shape}."
            )
        if len(self.lrs) < MIN_POINTS:
            raise ValueError(f"A curve must have at least {MIN_POINTS} points, got {len(self.lrs)}.")
        if not np.all(np.isfinite(self.lrs)) or self.lrs[0] <= 0 or np.any(np.diff(self.lrs) < 0):
            raise refuse("lrs", "be finite, above 0 and not falling", self.lrs.tolist())

    def __repr__(self) -> str:
        ends = f"{self.lrs[0]:.3g} to {self.lrs[-1]:.3g}"
        return f"LRCurve({len(self.lrs)} points, lr {ends}, monitor={self.monitor!r}, mode={self.mode!r})"

    @property
    def cost(self) -> Array:
        """What the rules minimise, shape [n]: the losses, or their negative with ``mode="max"``."""
        return self.losses if self.mode == "min" else -self.losses

    def smoothed(self) -> Array:
        """The losses smoothed by `lightning_lr.range_test.smooth`, shape [n], NaN from the first non-finite one on."""
        return smooth(self.losses)

    @property
    def num_finite(self) -> int:
        """The number of points before the first that is not finite."""
        return num_finite(self.losses)

    @checked(path=path)
    def to_csv(self, path: str | Path) -> None:
        """Write two columns: ``lr`` and the monitored name."""
        with Path(path).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["lr", self.monitor])
            writer.writerows(zip(self.lrs.tolist(), self.losses.tolist(), strict=True))

    @classmethod
    @checked(path=path, mode=choice(MODES))
    def from_csv(cls, path: str | Path, mode: Literal["min", "max"] = "min") -> LRCurve:
        """Read what `to_csv` wrote. ``mode`` is not in the file."""
        with Path(path).open(newline="") as file:
            try:
                (_, monitor), *rows = csv.reader(file)
                points = [(float(lr), float(value)) for lr, value in rows]
            except (ValueError, csv.Error) as error:
                raise ValueError(f"path must be a file that LRCurve.to_csv wrote, got {path}: {error}.") from error
        return cls([lr for lr, _ in points], [value for _, value in points], monitor, mode)

    def to_dict(self) -> dict[str, Any]:
        """Lists and strings, for JSON and checkpoints. A value that is not finite becomes None."""
        losses = [loss if np.isfinite(loss) else None for loss in self.losses.tolist()]
        return {"lrs": self.lrs.tolist(), "losses": losses, "monitor": self.monitor, "mode": self.mode}

    @classmethod
    @checked(plain=instance_of(Mapping, what="what LRCurve.to_dict gave"))
    def from_dict(cls, plain: Mapping[str, Any]) -> LRCurve:
        """The curve that `to_dict` was called on."""
        if not {"lrs", "losses", "monitor", "mode"} <= plain.keys():
            raise refuse("plain", "be what LRCurve.to_dict gave, with lrs, losses, monitor and mode", dict(plain))
        losses = plain["losses"]
        if isinstance(losses, list):
            losses = [np.nan if loss is None else loss for loss in losses]
        return cls(plain["lrs"], losses, plain["monitor"], plain["mode"])

    @checked(path=path)
    def to_json(self, path: str | Path) -> None:
        """Write `to_dict`."""
        Path(path).write_text(json.dumps(self.to_dict()) + "\n")

    @classmethod
    @checked(path=path)
    def from_json(cls, path: str | Path) -> LRCurve:
        """Read what `to_json` wrote."""
        try:
            plain = json.loads(Path(path).read_text())
        except ValueError as error:
            raise ValueError(f"path must be a file that LRCurve.to_json wrote, got {path}: {error}.") from error
        return cls.from_dict(plain)


def num_initial(lrs: Array) -> int:
    """The number of points that show the initial level: their learning rates were too low to change anything.

    These are the first points whose learning rates add up to at most 1e-4 of the highest one. There are at least 3 of
    them, and at most n/4.
    """
    negligible = int(np.sum(np.cumsum(lrs) <= INITIAL_LR_SHARE * np.max(lrs)))
    return max(MIN_INITIAL, min(negligible, len(lrs) // MAX_INITIAL_DIVISOR))
