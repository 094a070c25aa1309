"""The learning rates of a range test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

_MIN_LRS = 10  # of a sweep: fewer make no curve that could be smoothed


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
    if not 0 < min_lr < np.inf:
        raise ValueError(f"min_lr must be finite and above 0, got {min_lr}.")
    if not min_lr < max_lr < np.inf:
        raise ValueError(f"max_lr must be finite and above min_lr={min_lr}, got {max_lr}.")
    if num_steps < 2:
        raise ValueError(f"num_steps must be at least 2, got {num_steps}.")
    if mode == "exponential":
        return np.geomspace(min_lr, max_lr, num_steps)
    if mode == "linear":
        return np.linspace(min_lr, max_lr, num_steps)
    raise ValueError(f"mode must be 'exponential' or 'linear', got {mode!r}.")


def num_lrs(num_steps: int, steps_per_lr: int) -> int:
    """Learning rates of a sweep with so many steps. Raise a ValueError if they are too few."""
    if num_steps // steps_per_lr < _MIN_LRS:
        raise ValueError(
            f"num_steps must give at least {_MIN_LRS} learning rates of steps_per_lr={steps_per_lr} steps each, got"
            f" {num_steps}: use at least {_MIN_LRS * steps_per_lr}."
        )
    return num_steps // steps_per_lr


def checked_lrs(lrs: Sequence[float]) -> NDArray[np.float64]:
    """Learning rates as an array. Raise a ValueError unless they are finite, above 0 and rising."""
    try:
        points = np.array(lrs, dtype=float)
    except (TypeError, ValueError):
        points = np.empty(0)
    is_list = points.ndim == 1 and len(points) >= _MIN_LRS
    if not is_list or not np.all(np.isfinite(points)) or points[0] <= 0 or np.any(np.diff(points) <= 0):
        raise ValueError(f"lrs must be a list of at least {_MIN_LRS} rising learning rates above 0, got {lrs!r}.")
    return points
