"""Wave forms: how a schedule moves from its lower to its upper bound.

To add one, write a function of the fraction of the way, put it into `WAVE_FORMS` and its name into `Wave`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

Wave = Literal["triangle", "cosine"]


def triangle(fraction: float) -> float:
    """A straight line: ``x``."""
    return fraction


def cosine(fraction: float) -> float:
    """Half a cosine: ``(1 - cos πx) / 2``."""
    return 0.5 * (1 - math.cos(math.pi * fraction))


WAVE_FORMS: dict[Wave, Callable[[float], float]] = {"triangle": triangle, "cosine": cosine}


def wave_height(fraction: float, wave: Wave) -> float:
    """The height of a wave form, from 0 at the lower bound to 1 at the upper bound.

    >>> [(wave_height(x, "triangle"), round(wave_height(x, "cosine"), 3)) for x in (0, 0.25, 0.5, 1)]
    [(0, 0.0), (0.25, 0.146), (0.5, 0.5), (1, 1.0)]

    Args:
        fraction: x, the fraction of the way up, from 0 to 1. On the way down it falls from 1 to 0.
        wave: the name of the form.
    """
    return WAVE_FORMS[wave](fraction)
