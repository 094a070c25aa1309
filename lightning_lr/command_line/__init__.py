"""The command line: `python -m lightning_lr`, and `LRCLI` for a script.

`main` chooses what runs. `lr_cli` adds the subcommands ``lr_range_test`` and ``lr_search`` to Lightning's CLI,
`found_config` writes what they found as a config for ``fit``, `short_errors` makes errors of one to three lines, and
`preview` draws a schedule. Nothing here is imported by ``import lightning_lr``: it needs the extra ``cli``.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_lr.command_line.lr_cli import LRCLI

__all__ = ["LRCLI"]


def __getattr__(name: str) -> Any:
    # Late, since `main` must also run where jsonargparse is missing.
    if name == "LRCLI":
        from lightning_lr.command_line.lr_cli import LRCLI

        return LRCLI
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
