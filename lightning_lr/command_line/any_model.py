"""Run a subcommand without a script, with any model and any data of either package."""

from __future__ import annotations

import importlib
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch.cli import LightningArgumentParser

from lightning_lr.command_line.lr_cli import LRCLI, LRCommands
from lightning_lr.trainer.lightning_packages import either

_CLASS_OPTIONS = ("--model", "--data")


def run(args: Sequence[str]) -> None:
    """Run a subcommand with the model and the data that the arguments, or their configs, name."""
    if "" not in sys.path:
        sys.path.insert(0, "")  # an installed command does not look for modules in the current folder
    # Not as args of the command line: Lightning starts the processes of further devices with what sys.argv holds.
    argv, sys.argv = sys.argv, [sys.argv[0], *args]
    try:
        kind = _cli_of(_model_of(args))
        type(kind.__name__, (_ClassesFirst, kind), {})(
            parser_kwargs={"prog": "lightning-lr", "default_env": True},
            save_config_kwargs={"overwrite": True},
        )
    finally:
        sys.argv = argv


class _ClassesFirst(LRCommands):
    """Reads ``--model`` and ``--data`` before the configs, whose sections may hold arguments of these classes only."""

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        self.config = parser.parse_args(_classes_first(self._args if args is None else args))


def _classes_first(args: Sequence[str]) -> list[str]:
    """Repeat ``--model`` and ``--data`` before the configs that follow the subcommand.

    >>> _classes_first(["fit", "-c", "config.yaml", "--model", "my.Model"])
    ['fit', '--model=my.Model', '-c', 'config.yaml', '--model', 'my.Model']
    """
    pairs = [*zip(args, [*args[1:], ""], strict=True)]
    given = [f"{arg}={value}" for arg, value in pairs if arg in _CLASS_OPTIONS]
    given += [arg for arg in args if arg.partition("=")[0] in _CLASS_OPTIONS and "=" in arg]
    first = _subcommand_position(args) + 1
    return [*args[:first], *given, *args[first:]]


def _subcommand_position(args: Sequence[str]) -> int:
    """The place of the subcommand, before which configs may stand; the number of arguments if there is none.

    >>> _subcommand_position(["-c", "all.yaml", "fit", "-c", "model.yaml"])
    2
    """
    for i, (previous, arg) in enumerate(zip(["", *args], args, strict=False)):
        if not arg.startswith("-") and previous not in ("-c", "--config"):
            return i
    return len(args)


def _cli_of(model: str) -> type[LRCommands]:
    """The command line of the package that a model, given by its path, comes from."""
    module, _, name = model.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (AttributeError, ImportError, ValueError):  # the command line says so itself
        return LRCLI
    lightning, other = either("LightningModule")
    if isinstance(found, type) and issubclass(found, other) and not issubclass(found, lightning):
        from lightning_lr.command_line import pytorch_lightning

        return pytorch_lightning.LRCLI
    return LRCLI


def _model_of(args: Sequence[str]) -> str:
    """The path of the model's class; empty if none is named.

    >>> _model_of(["fit", "--data=my.Data", "--model", "my.Net"])
    'my.Net'
    """
    parser = ArgumentParser("lightning-lr", add_help=False, allow_abbrev=False)
    parser.add_argument("--model", default="")
    parser.add_argument("-c", "--config", type=Path, action="append", default=[])
    given, _ = parser.parse_known_args(args)
    subcommand = "".join(args[_subcommand_position(args) :][:1])
    names = [_model_in(path, subcommand) for path in given.config if path.is_file()]
    return str(given.model or next((name for name in names if name), ""))


def _model_in(config: Path, subcommand: str) -> str:
    try:
        loaded = yaml.safe_load(config.read_text())
    except yaml.YAMLError:  # the command line says so itself
        return ""
    sections = loaded if isinstance(loaded, dict) else {}
    of_subcommand = sections.get(subcommand)  # of a config before the subcommand; after it, the options of the test
    model = (of_subcommand if isinstance(of_subcommand, dict) else {}).get("model") or sections.get("model")
    return str(model.get("class_path", "")) if isinstance(model, dict) else str(model or "")
