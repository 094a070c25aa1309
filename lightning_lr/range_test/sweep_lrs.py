"""The learning rates of a range test."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray


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
