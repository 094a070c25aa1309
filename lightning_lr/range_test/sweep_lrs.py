"""The learning rates of a range test."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lightning_lr.arguments import checked, choice, learning_rate, list_of, refuse, whole

MODES = ("exponential", "linear")
MAX_SWEEP_STEPS = 10**6  # of a sweep, whose learning rates and losses are kept in memory
_MIN_LRS = 10  # of a sweep: fewer make no curve that could be smoothed


@checked(
    min_lr=learning_rate,
    max_lr=learning_rate,
    num_steps=whole(at_least=2, at_most=MAX_SWEEP_STEPS),
    mode=choice(MODES),
)
def sweep_lrs(
    min_lr: float, max_lr: float, num_steps: int, mode: Literal["exponential", "linear"] = "exponential"
) -> NDArray[np.float64]:
    """The learning rates of a range test, shape [num_steps], both ends included.

    Exponential: ``min_lr (max_lr/min_lr)^(i/(n-1))``; linear: ``min_lr + (max_lr - min_lr) i/(n-1)``.

    >>> sweep_lrs(0.01, 1.0, 3).round(12).tolist(), sweep_lrs(0.1, 0.5, 3, "linear").round(12).tolist()
    ([0.01, 0.1, 1.0], [0.1, 0.3, 0.5])

    Raises:
        ValueError: unless ``0 < min_lr < max_lr``, both finite, with at least two steps and a known mode.
    """
    if max_lr <= min_lr:
        raise refuse("max_lr", f"be above min_lr={min_lr}", max_lr)
    return (np.geomspace if mode == "exponential" else np.linspace)(min_lr, max_lr, num_steps)


def num_lrs(num_steps: int, steps_per_lr: int) -> int:
    """Learning rates of a sweep with so many steps. Raise a ValueError if they are too few."""
    if num_steps // steps_per_lr < _MIN_LRS:
        raise ValueError(
            f"num_steps must give at least {_MIN_LRS} learning rates of steps_per_lr={steps_per_lr} steps each, got"
            f" {num_steps}: use at least {_MIN_LRS * steps_per_lr}."
        )
    return num_steps // steps_per_lr


def rising_lrs(name: str, value: Any) -> list[float]:
    """The rule for learning rates that are given as a list, see `lightning_lr.arguments`."""
    what = f"a list of at least {_MIN_LRS} rising learning rates above 0"
    lrs: list[float] = list_of(learning_rate, what, at_least=_MIN_LRS)(name, value)
    if any(later <= earlier for earlier, later in pairwise(lrs)):
        raise refuse(name, f"be {what}", lrs)
    return lrs
