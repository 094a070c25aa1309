"""Schedules: pure functions from the number of finished optimizer steps to a value."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Mode = Literal["triangular", "triangular2", "exp_range"]


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


def triangle(step: int, up: int, down: int) -> tuple[int, float]:
    """Cycle number, from 1, and height in it, from 0 over 1 to 0, after ``step`` finished steps.

    ``c = 1 + floor(t/(u+d))``, ``x = t/(u+d) - (c-1)``, ``rho = u/(u+d)``, ``f = x/rho`` up to the peak and
    ``(1-x)/(1-rho)`` behind it. Computed in whole steps, so that turns are exact.

    >>> [triangle(step, 2, 4) for step in (0, 1, 2, 3, 5, 6)]
    [(1, 0.0), (1, 0.5), (1, 1.0), (1, 0.75), (1, 0.25), (2, 0.0)]
    """
    cycle, within = divmod(step, up + down)
    height = within / up if within <= up else (up + down - within) / down
    return cycle + 1, height


def amplitude(mode: Mode, step: int, cycle: int, gamma: float) -> float:
    """The factor S of a cycle's height: 1, ``2^-(cycle-1)`` or ``gamma^step``, step from the start of training.

    >>> [amplitude(mode, 3, 2, 0.5) for mode in ("triangular", "triangular2", "exp_range")]
    [1.0, 0.5, 0.125]
    """
    if mode == "triangular2":
        return 0.5 ** (cycle - 1)
    return gamma**step if mode == "exp_range" else 1.0
