"""The two bounds of a schedule, for one parameter group or for each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bound = float | Sequence[float] | Mapping[str, float]


@dataclass(frozen=True)
class Bounds:
    """A lower and an upper learning rate: one number for the group with the highest rate, or one for each group.

    Attributes:
        base_lr: ``0.1``, ``[0.1, 0.01]`` by the position of the group, or ``{"head": 0.1, "backbone": 0.01}`` by name.
        max_lr: likewise.
    """

    base_lr: float | list[float] | dict[str, float]
    max_lr: float | list[float] | dict[str, float]

    @classmethod
    def checked(cls, base_lr: Bound | None, max_lr: Bound | None) -> Bounds:
        """Bounds as a user gives them.

        >>> Bounds.checked(0.01, (0.1, 0.2))
        Bounds(base_lr=0.01, max_lr=[0.1, 0.2])

        Raises:
            ValueError: unless both are given as numbers, finite and at least 0, with ``base_lr <= max_lr`` and
                ``max_lr > 0``.
        """
        if base_lr is None or max_lr is None:
            raise ValueError(f"base_lr and max_lr must both be given or both be left open, got {base_lr=}, {max_lr=}.")
        base, peak = _plain("base_lr", base_lr), _plain("max_lr", max_lr)
        keys: list[str | int] = _keys(base) or _keys(peak) or [0]
        if not isinstance(base, float) and not isinstance(peak, float) and {*_keys(base)} != {*_keys(peak)}:
            raise ValueError(f"base_lr and max_lr must be given for the same groups, got {base} and {peak}.")
        for key in keys:
            low, high = _value(base, key), _value(peak, key)
            if not low <= high or high == 0:
                raise ValueError(f"base_lr must not be above max_lr, and max_lr above 0, got {low} and {high}.")
        if isinstance(base, dict) and isinstance(peak, dict):
            peak = {name: peak[name] for name in base}
        return cls(base, peak)

    def check_groups(self, names: list[str]) -> None:
        """Compare with the groups that there are.

        Args:
            names: of all groups, in the order of the optimizers.

        Raises:
            ValueError: if there are not as many values as groups, or a group's name has none.
        """
        for argument, bound in (("base_lr", self.base_lr), ("max_lr", self.max_lr)):
            if isinstance(bound, list) and len(bound) != len(names):
                raise ValueError(
                    f"{argument} must be one number or one for each of the {len(names)} parameter groups, got"
                    f" {len(bound)}: {bound}."
                )
            if isinstance(bound, dict) and {*bound} != {*names}:
                raise ValueError(
                    f"{argument} must have one number for each parameter group by its name, {', '.join(names)}, got"
                    f" {bound}."
                )

    @property
    def highest(self) -> float:
        """The highest learning rate of all."""
        return float(self.values()[1].max())

    def values(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Both bounds as arrays, shape [groups], or [1] if both are one number."""
        lows, highs = (
            [bound] if isinstance(bound, float) else [*(bound.values() if isinstance(bound, dict) else bound)]
            for bound in (self.base_lr, self.max_lr)
        )
        low, high = np.broadcast_arrays(np.array(lows), np.array(highs))
        return low, high

    def of(self, position: int, name: str, ratio: float) -> tuple[float, float]:
        """The bounds of one group.

        >>> Bounds.checked(0.01, [0.1, 0.2]).of(1, "head", 0.5)
        (0.005, 0.2)

        Args:
            position: among all groups.
            name: of the group.
            ratio: of its learning rate to the highest one, for a bound that is one number.
        """
        low, high = (
            bound * ratio if isinstance(bound, float) else _value(bound, name if isinstance(bound, dict) else position)
            for bound in (self.base_lr, self.max_lr)
        )
        return low, high


def _plain(argument: str, bound: Bound) -> float | list[float] | dict[str, float]:
    values: list[Any] = [bound]
    if isinstance(bound, Mapping):
        values = [*bound.values()]
    elif isinstance(bound, (Sequence, np.ndarray)) and not isinstance(bound, str):
        values = [*bound]
    if not values or not all(isinstance(lr, Real) and not isinstance(lr, bool) for lr in values):
        raise ValueError(f"{argument} must be a number, or one for each group in a list or a dict, got {bound!r}.")
    plain = [float(lr) for lr in values]
    if not all(0 <= lr < math.inf for lr in plain):
        raise ValueError(f"{argument} must be finite and at least 0, got {bound}.")
    if isinstance(bound, Mapping):
        return dict(zip(map(str, bound), plain, strict=True))
    # a list of one is one number, whatever the number of groups
    return plain[0] if len(plain) == 1 else plain


def _keys(bound: float | list[float] | dict[str, float]) -> list[str | int]:
    if isinstance(bound, float):
        return []
    return [*bound] if isinstance(bound, dict) else [*range(len(bound))]


def _value(bound: float | list[float] | dict[str, float], key: str | int) -> float:
    return bound if isinstance(bound, float) else bound[key]  # type: ignore[index]  # the key is one of its own
