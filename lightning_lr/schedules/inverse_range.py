"""Momentum and weight decay that move inversely to the learning rate."""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from typing import Any, NamedTuple

from lightning_lr.arguments import ArgumentRule, list_of, number, refuse


def inverse_range(below: float = math.inf) -> ArgumentRule:
    """The rule for two numbers of at least 0, the lower one first, see `lightning_lr.arguments`."""
    upper = "" if math.isinf(below) else f", both below {below:g}"
    what = f"two numbers of at least 0, the lower one first{upper}"

    def check(name: str, value: Any) -> list[float]:
        limits: list[float] = list_of(number(at_least=0, below=below), what, at_least=2)(name, value)
        if len(limits) != 2 or limits[0] > limits[1] or isinstance(value, Set):
            raise refuse(name, f"be {what}", value)
        return limits

    return check


class InverseRange(NamedTuple):
    """The range of a value that is highest where the learning rate is lowest.

    Attributes:
        low: value at amplitude 1, where the learning rate is at its upper bound.
        high: value at amplitude 0, where the learning rate is at its lower bound.
    """

    low: float
    high: float

    @classmethod
    def checked(cls, argument: str, limits: Sequence[float], below: float) -> InverseRange:
        """The range that a user gives.

        >>> InverseRange.checked("momentum", [0.85, 0.95], below=1.0)
        InverseRange(low=0.85, high=0.95)

        Args:
            argument: its name, for the error message.
            limits: lowest and highest value.
            below: both must be less than this.

        Raises:
            ValueError: unless they are two finite numbers, the lower one first, at least 0 and less than ``below``.
        """
        low, high = inverse_range(below)(argument, limits)
        return cls(float(low), float(high))

    def at(self, amplitude: float) -> float:
        """``high - (high - low) · amplitude``.

        >>> InverseRange(0.85, 0.95).at(0.0), InverseRange(0.85, 0.95).at(1.0)
        (0.95, 0.85)
        """
        return self.high - (self.high - self.low) * amplitude
