"""Checks of constructor arguments. Each raises a ValueError that names the argument, the rule and the value."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Real
from pathlib import Path
from typing import Any


def check_flags(**flags: Any) -> None:
    """Raise a ValueError unless all are true or false: a text such as "no" would count as true."""
    for argument, value in flags.items():
        if not isinstance(value, bool):
            raise ValueError(f"{argument} must be true or false, got {value!r}.")


def check_choice(argument: str, value: Any, choices: Iterable[str]) -> None:
    """Raise a ValueError unless the value is one of the choices."""
    choices = list(choices)
    if value not in choices:
        raise ValueError(f"{argument} must be one of {', '.join(choices)}, got {value!r}.")


def check_number(
    argument: str, value: Any, *, above: float | None = None, at_least: float | None = None, at_most: float = math.inf
) -> None:
    """Raise a ValueError unless the value is a number, and within the limits if a lower one is given.

    >>> check_number("gamma", 1.5, above=0, at_most=1)
    Traceback (most recent call last):
    ValueError: gamma must be above 0 and at most 1, got 1.5.

    Args:
        argument: its name, for the error message.
        value: a number, or None, which passes.
        above: excluded lower limit. Infinity and NaN are then refused too.
        at_least: included lower limit. Infinity and NaN are then refused too.
        at_most: included upper limit.
    """
    if value is None:
        return
    if not _is_number(value):
        raise ValueError(f"{argument} must be a number, got {value!r}.")
    if above is None and at_least is None:
        return
    is_high_enough = value > above if above is not None else value >= at_least
    if not (is_high_enough and value <= at_most and math.isfinite(value)):
        lower = f"above {above:g}" if above is not None else f"at least {at_least:g}"
        rule = f"finite and {lower}" if math.isinf(at_most) else f"{lower} and at most {at_most:g}"
        raise ValueError(f"{argument} must be {rule}, got {value}.")


def check_int(argument: str, value: Any, at_least: int) -> int:
    """The value as an int. Raise a ValueError unless it is a whole number of at least ``at_least``.

    >>> check_int("num_cycles", 3.0, at_least=1)
    3
    """
    if not _is_number(value) or value % 1 != 0 or value < at_least:
        raise ValueError(f"{argument} must be a whole number of at least {at_least}, got {value!r}.")
    return int(value)


def check_key(argument: str, value: Any) -> None:
    """Raise a ValueError unless the value is the key of something that is logged, or None."""
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{argument} must be a key that the module logs, got {value!r}.")


def check_epochs(argument: str, value: Any) -> set[int]:
    """The value as a set of epochs. Raise a ValueError unless it is a list of whole numbers from 0, not empty."""
    epochs = None if isinstance(value, str) or not isinstance(value, Iterable) else list(value)
    if not epochs or not all(_is_number(epoch) and epoch % 1 == 0 and epoch >= 0 for epoch in epochs):
        shown = value if epochs is None else epochs
        raise ValueError(f"{argument} must be a list of at least one epoch, counted from 0, got {shown!r}.")
    return {int(epoch) for epoch in epochs}


def check_index(argument: str, value: Any) -> None:
    """Raise a ValueError unless the value is a position in a list, from 0, or None."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise ValueError(f"{argument} must be the position of one, from 0, got {value!r}.")


def check_folder(argument: str, value: str | Path | None) -> Path | None:
    """The folder to write to as a path, None for nowhere. Raise a ValueError if the value is no path or is a file."""
    if value is None:
        return None
    if not isinstance(value, (str, Path)):
        raise ValueError(f"{argument} must be the path of a folder, got {value!r}.")
    if Path(value).is_file():
        raise ValueError(f"{argument} must be a folder, which is created if it is missing, got the file {value}.")
    return Path(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
