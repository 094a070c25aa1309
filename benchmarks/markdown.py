"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import lightning_lr

_WORDS = ("against", "where", "aim")  # heads of columns without numbers


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, with numbers aligned to the right."""
    rule = ["---" if name in ("", *_WORDS) else "---:" for name in head]
    lines = [f"| {' | '.join(head)} |", f"|{'|'.join(rule)}|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def bold(name: str) -> str:
    """The name, in bold if it is one of this package."""
    return f"**{name}**" if is_ours(name) else name


def is_ours(name: str) -> bool:
    """Whether a part of it begins with a public name of this package."""
    return any(part.partition("(")[0].split(",")[0] in lightning_lr.__all__ for part in name.split(" + "))
