"""Constructor arguments in a checkpoint, and what a resumed callback says when they are not its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn


def plain_arguments(names: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a constructor, called with its ``locals()`` in its first line, as torch saves and loads them.

    >>> plain_arguments({"self": object(), "at_epochs": (0, 5), "output_dir": Path("curves")})
    {'at_epochs': [0, 5], 'output_dir': 'curves'}
    """
    plain = {name: value for name, value in names.items() if name not in ("self", "__class__")}
    for name, value in plain.items():
        if isinstance(value, tuple):
            plain[name] = list(value)
        elif isinstance(value, Path):
            plain[name] = str(value)
    return plain


def warn_if_changed(owner: str, saved: dict[str, Any], now: dict[str, Any]) -> None:
    """Report by name every constructor argument that differs from the checkpoint's. The new values hold."""
    known = [name for name in now if name in saved]
    changed = [f"{name}: {saved[name]!r} -> {now[name]!r}" for name in known if saved[name] != now[name]]
    if changed:
        rank_zero_warn(f"{owner} is resumed with changed arguments, which now hold: {', '.join(changed)}.")
