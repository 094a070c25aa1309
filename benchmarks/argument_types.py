"""Types of command line arguments that `argparse` refuses before anything is measured or written."""

from __future__ import annotations

import math
from argparse import ArgumentTypeError


def positive_count(word: str) -> int:
    """A number of processes, seeds or steps.

    Raises:
        ArgumentTypeError: if it is no whole number of at least 1.
    """
    if not word.isdecimal() or int(word) < 1:
        raise ArgumentTypeError(f"must be a whole number of at least 1, got {word!r}")
    return int(word)


def positive_factor(word: str) -> float:
    """What a number of rounds is multiplied by.

    Raises:
        ArgumentTypeError: if it is no finite number above 0.
    """
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise ArgumentTypeError(f"must be a finite number above 0, got {word!r}")
    return value
