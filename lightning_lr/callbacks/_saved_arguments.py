"""Constructor arguments in a checkpoint: in what form they are saved, and what a resumed callback says of changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn

from lightning_lr.arguments import function, refuse


def plain_arguments(names: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a constructor in types that a checkpoint can hold.

    >>> plain_arguments({"self": object(), "at_epochs": (0, 5), "output_dir": Path("curves"), "lr": np.float64(0.1)})
    {'at_epochs': [0, 5], 'output_dir': 'curves', 'lr': 0.1}

    Args:
        names: ``locals()`` of the constructor, taken in its first line.
    """
    arguments = {name: value for name, value in names.items() if name not in ("self", "__class__")}
    return {name: dotted_name(name, value) if callable(value) else plain(value) for name, value in arguments.items()}


def plain(value: Any) -> Any:
    """A value in types that torch loads with ``weights_only=True``: no tuples, paths or numbers of NumPy.

    >>> plain({"head": np.float32(0.5), "backbone": (np.int64(1), 2)})
    {'head': 0.5, 'backbone': [1, 2]}
    >>> from collections import UserList
    >>> plain(UserList([1, 2]))
    [1, 2]
    """
    if isinstance(value, Mapping):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):  # also a list of OmegaConf
        return [plain(each) for each in value]
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    return str(value) if isinstance(value, Path) else value


def dotted_name(argument: str, named: Callable[..., Any]) -> str:
    """The name by which a function can be imported.

    >>> import math
    >>> dotted_name("scale_fn", math.exp)
    'math.exp'

    Args:
        argument: its name, for the error message.
        named: the function.

    Raises:
        ValueError: for a lambda, or a function within another function.
    """
    module, name = (getattr(named, attribute, "<none>") for attribute in ("__module__", "__qualname__"))
    if "<" in f"{module}{name}":
        rule = (
            "be a function that can be imported, from the top of a module, since checkpoints and configs hold its name"
        )
        raise refuse(argument, rule, named)
    return f"{module}.{name}"


def import_function(argument: str, path: str) -> Callable[..., Any]:
    """The function that a dotted path names.

    >>> import_function("scale_fn", "math.sqrt")(4)
    2.0

    Args:
        argument: its name, for the error message.
        path: the dotted path.

    Raises:
        ValueError: if there is no such function.
    """
    try:
        named: Any = resolve_name(path)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{argument} must be the dotted path of a function, got {path!r}: {error}.") from error
    if not callable(named):
        raise ValueError(f"{argument} must be the dotted path of a function, got {path!r}, which is not a function.")
    return named  # type: ignore[no-any-return]


def importable(name: str, value: Any) -> Any:
    """The rule for a function, or its dotted path, see `lightning_lr.arguments`."""
    if isinstance(value, str):
        import_function(name, value)
    else:
        dotted_name(name, function(name, value))
    return value


def warn_if_changed(owner: str, saved: dict[str, Any], current: dict[str, Any]) -> set[str]:
    """Warn of every constructor argument that differs from the checkpoint. The current values are used.

    Args:
        owner: name of the callback.
        saved: arguments in the checkpoint.
        current: arguments of the callback that is resumed.

    Returns:
        The names of the changed arguments.
    """
    changed = [name for name in current if name in saved and saved[name] != current[name]]
    if changed:
        changes = ", ".join(f"{name}: {saved[name]!r} -> {current[name]!r}" for name in changed)
        rank_zero_warn(f"{owner} is resumed with changed arguments, which now hold: {changes}.")
    return set(changed)
