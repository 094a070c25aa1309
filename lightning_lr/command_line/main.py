"""What `python -m lightning_lr` and the command `lightning-lr` run."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from importlib.metadata import version

OVERVIEW = """\
usage: lightning-lr COMMAND [options]    (or python -m lightning_lr COMMAND [options])

  lr_range_test    sweep the learning rate before training and say which one to take
  lr_search        try learning rates in short trainings and say which one to take
  fit              train; also validate, test and predict, as in a LightningCLI
  preview          draw the schedule of a config without training
  --version        print the versions of this package, Lightning and torch

  lightning-lr lr_range_test --model my_package.Model --data my_package.Data
  lightning-lr fit --model my_package.Model --data my_package.Data -c lr_found.yaml

COMMAND --help explains the options. Exit status of the first two: 0 if the result is confident, 3 if it is not,
4 if lr_found.yaml could not be written, 2 for bad arguments, 1 for an exception of your code.
"""
_COMMANDS = ("lr_range_test", "lr_search", "fit", "validate", "test", "predict", "preview")
_BAD_ARGUMENTS = 2


def main(args: Sequence[str] | None = None) -> None:
    """Run a command.

    Args:
        args: arguments of the command line; those of the process if None.

    Raises:
        SystemExit: with a status other than 0, see `OVERVIEW`.
    """
    given = list(sys.argv[1:] if args is None else args)
    if not given or given[0] in ("-h", "--help"):
        print(OVERVIEW, end="")
    elif given[0] == "--version":
        print(", ".join(f"{name} {version(name)}" for name in ("lightning_lr", "lightning", "torch")))
    elif not given[0].startswith("-") and given[0] not in _COMMANDS:  # options may come before the command
        print(f"lightning-lr: COMMAND must be one of {', '.join(_COMMANDS)}, got {given[0]}.", file=sys.stderr)
        raise SystemExit(_BAD_ARGUMENTS)
    elif importlib.util.find_spec("jsonargparse") is None:
        print('lightning-lr: jsonargparse is missing: pip install "lightning_lr[cli]"', file=sys.stderr)
        raise SystemExit(_BAD_ARGUMENTS)
    elif given[0] == "preview":
        from lightning_lr.command_line.preview import main as preview

        preview(given[1:])
    else:
        from lightning_lr.command_line.any_model import run

        run(given)
