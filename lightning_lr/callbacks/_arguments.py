"""What a resumed callback says when its constructor arguments are not those of the checkpoint."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.utilities.rank_zero import rank_zero_warn


def warn_if_changed(owner: str, saved: dict[str, Any], now: dict[str, Any]) -> None:
    """Report by name every constructor argument that differs from the checkpoint's. The new values hold."""
    known = [name for name in now if name in saved]
    changed = [f"{name}: {saved[name]!r} -> {now[name]!r}" for name in known if saved[name] != now[name]]
    if changed:
        rank_zero_warn(f"{owner} is resumed with changed arguments, which now hold: {', '.join(changed)}.")
