"""Constructor arguments in a checkpoint, and what a resumed callback says when they are not its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Real
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn


def plain_arguments(names: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a constructor, called with its ``locals()`` in its first line, as torch saves and loads them.

    >>> plain_arguments({"self": object(), "at_epochs": (0, 5), "output_dir": Path("curves"), "lr": np.float64(0.1)})
    {'at_epochs': [0, 5], 'output_dir': 'curves', 'lr': 0.1}
    """
    arguments = {name: value for name, value in names.items() if name not in ("self", "__class__")}
    return {name: dotted_name(name, value) if callable(value) else plain(value) for name, value in arguments.items()}


def plain(value: Any) -> Any:
    """A value in types that torch loads with ``weights_only=True``: no tuples, paths or numbers of NumPy.

    >>> plain({"head": np.float32(0.5), "backbone": (np.int64(1), 2)})
    {'head': 0.5, 'backbone': [1, 2]}
    """
    if isinstance(value, Mapping):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    return str(value) if isinstance(value, Path) else value


def dotted_name(argument: str, function: Callable[..., Any]) -> str:
    """The name by which a function can be imported.

    >>> import math
    >>> dotted_name("scale_fn", math.exp)
    'math.exp'

    Raises:
        ValueError: if there is none: a lambda, or a function within another one.
    """
    module, name = (getattr(function, attribute, "<none>") for attribute in ("__module__", "__qualname__"))
    if "<" in f"{module}{name}":
        raise ValueError(
            f"{argument} must be a function that can be imported, since checkpoints and configs hold its name, got"
            f" {function!r}: define it at the top of a module."
        )
    return f"{module}.{name}"


def imported(argument: str, path: str) -> Callable[..., Any]:
    """The function that a dotted path names.

    >>> imported("scale_fn", "math.sqrt")(4)
    2.0

    Raises:
        ValueError: if there is none.
    """
    try:
        function: Any = resolve_name(path)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{argument} must be the dotted path of a function, got {path!r}: {error}.") from error
    if not callable(function):
        raise ValueError(f"{argument} must be the dotted path of a function, got {path!r}, which is none.")
    return function  # type: ignore[no-any-return]


def check_flags(**given: bool) -> None:
    """Raise a ValueError unless all are true or false: a text such as "no" would pass for true."""
    for argument, value in given.items():
        if not isinstance(value, bool):
            raise ValueError(f"{argument} must be true or false, got {value!r}.")


def check_numbers(**given: float | None) -> None:
    """Raise a ValueError unless all are numbers, or None."""
    for argument, value in given.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, Real)):
            raise ValueError(f"{argument} must be a number, got {value!r}.")


def folder(argument: str, given: str | Path | None) -> Path | None:
    """Where to write, None for nowhere.

    Raises:
        ValueError: if it is no path, or that of a file.
    """
    if given is None:
        return None
    if not isinstance(given, (str, Path)):
        raise ValueError(f"{argument} must be the path of a folder, got {given!r}.")
    if Path(given).is_file():
        raise ValueError(f"{argument} must be a folder, which is made if there is none, got the file {given}.")
    return Path(given)


def warn_if_changed(owner: str, saved: dict[str, Any], now: dict[str, Any]) -> set[str]:
    """Report by name every constructor argument that differs from the checkpoint's. The new values hold.

    Returns:
        Their names.
    """
    changed = [name for name in now if name in saved and saved[name] != now[name]]
    if changed:
        told = ", ".join(f"{name}: {saved[name]!r} -> {now[name]!r}" for name in changed)
        rank_zero_warn(f"{owner} is resumed with changed arguments, which now hold: {told}.")
    return set(changed)
