"""The two bounds of a schedule, for one parameter group or for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from lightning_lr.arguments import learning_rate_or_0, refuse

Bound = float | Sequence[float] | Mapping[str, float]  # as users give it
PlainBound = float | list[float] | dict[str, float]


@dataclass(frozen=True)
class Bounds:
    """A lower and an upper learning rate.

    Attributes:
        base_lr: ``0.1`` for the group with the highest learning rate, ``[0.1, 0.01]`` for each group by position, or
            ``{"head": 0.1, "backbone": 0.01}`` for each group by name.
        max_lr: in one of the same forms.
    """

    base_lr: PlainBound
    max_lr: PlainBound

    @classmethod
    def checked(cls, base_lr: Bound | None, max_lr: Bound | None) -> Bounds:
        """The bounds that a user gives.

        >>> Bounds.checked(0.01, (0.1, 0.2))
        Bounds(base_lr=0.01, max_lr=[0.1, 0.2])

        Raises:
            ValueError: unless both are given, as finite numbers of at least 0 for the same groups, with
                ``base_lr <= max_lr`` and ``max_lr > 0``.
        """
        if base_lr is None or max_lr is None:
            raise ValueError(f"base_lr and max_lr must both be given or both be left open, got {base_lr=}, {max_lr=}.")
        bounds = cls(_plain_bound("base_lr", base_lr), _plain_bound("max_lr", max_lr))
        keys = [{*_group_keys(bound)} for bound in (bounds.base_lr, bounds.max_lr)]
        if all(keys) and keys[0] != keys[1]:
            raise ValueError(
                f"base_lr and max_lr must be given for the same groups, got {bounds.base_lr} and {bounds.max_lr}."
            )
        for low, high in bounds.pairs():
            if high == 0:
                raise refuse("max_lr", "be above 0 for every group", max_lr)
            if low > high:
                raise ValueError(f"base_lr must not be above max_lr, got {low} and {high}.")
        return bounds

    @property
    def highest_lr(self) -> float:
        """The highest upper bound of all groups."""
        return max(high for _, high in self.pairs())

    def pairs(self) -> list[tuple[float, float]]:
        """The lower and the upper bound of each group as they were given; one pair if both are one number."""
        keys = _group_keys(self.base_lr) or _group_keys(self.max_lr) or [0]
        return [(_lr_of(self.base_lr, key), _lr_of(self.max_lr, key)) for key in keys]

    def for_groups(self, names: list[str], ratios: list[float]) -> list[tuple[float, float]]:
        """The lower and the upper learning rate of each group.

        >>> Bounds.checked(0.01, [0.1, 0.2]).for_groups(["backbone", "head"], [0.5, 1.0])
        [(0.005, 0.1), (0.01, 0.2)]

        Args:
            names: of all groups, in the order of the optimizers.
            ratios: each group's learning rate divided by the highest one. They apply to a bound that is one number.

        Raises:
            ValueError: if there are not as many values as groups, or a group's name has none.
        """
        # max_lr first: of some schedules it is the only bound that the user gave
        highs = _for_groups("max_lr", self.max_lr, names, ratios)
        lows = _for_groups("base_lr", self.base_lr, names, ratios)
        return list(zip(lows, highs, strict=True))


def bound(name: str, value: Any) -> Any:
    """The rule for bounds, see `lightning_lr.arguments`. They stay as they are given, for checkpoints."""
    _plain_bound(name, value)
    return value


def _plain_bound(argument: str, bound: Bound) -> PlainBound:
    """A bound in floats, lists and dicts, which a checkpoint can hold."""
    values: list[Any] = [bound]
    if isinstance(bound, Mapping):
        values = [*bound.values()]
    elif isinstance(bound, np.ndarray):
        values = [*bound] if bound.ndim == 1 else []
    elif isinstance(bound, Sequence) and not isinstance(bound, (str, bytes)):
        values = [*bound]
    if not values or not all(isinstance(lr, Real) and not isinstance(lr, bool) for lr in values):
        raise refuse(argument, "be a number, or one for each group in a list or a dict", bound)
    lrs = [float(learning_rate_or_0(argument, lr)) for lr in values]
    if isinstance(bound, Mapping):
        return dict(zip(map(str, bound), lrs, strict=True))
    # a list of one is one number, whatever the number of groups
    return lrs[0] if len(lrs) == 1 else lrs


def _group_keys(bound: PlainBound) -> list[str | int]:
    """Names or positions of the groups; none for one number."""
    if isinstance(bound, float):
        return []
    return [*bound] if isinstance(bound, dict) else [*range(len(bound))]


def _lr_of(bound: PlainBound, key: str | int) -> float:
    return bound if isinstance(bound, float) else bound[key]  # type: ignore[index]  # one of `_group_keys`


def _for_groups(argument: str, bound: PlainBound, names: list[str], ratios: list[float]) -> list[float]:
    if isinstance(bound, float):
        return [bound * ratio for ratio in ratios]
    if isinstance(bound, list):
        if len(bound) != len(names):
            raise ValueError(
                f"{argument} must be one number or one for each of the {len(names)} parameter groups, got"
                f" {len(bound)}: {bound}."
            )
        return bound
    if {*bound} != {*names}:
        raise ValueError(
            f"{argument} must have one number for each parameter group by its name, {', '.join(names)}, got {bound}."
        )
    return [bound[name] for name in names]
