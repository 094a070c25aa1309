"""A config for ``fit`` that holds the learning rate that was found, and the command that trains with it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning_lr.callbacks._advice import lr_option
from lightning_lr.callbacks._lr_finder import LRFinder
from lightning_lr.range_test.suggestion import Suggestion

# Constructor arguments of a schedule that were left open -> the field of the suggestion that they get, as
# `set_bounds_from` of each does.
BOUNDS = {
    "CyclicalLR": {"base_lr": "base_lr", "max_lr": "max_lr"},
    "OneCycleLR": {"max_lr": "one_cycle_max_lr"},
    "WarmupStableDecayLR": {"max_lr": "lr"},
}


def found_config(config: dict[str, Any], suggestion: Suggestion, lr: float) -> dict[str, Any]:
    """What a config has to change: the option for the learning rate, and schedules whose bounds were left open.

    The list of callbacks is then given in full, without the callbacks that would look for a learning rate again.

    >>> suggestion = Suggestion(0.1, 0.05, 0.2, 0.2, True, ())
    >>> found_config({"model": {"class_path": "Net", "init_args": {"lr": 1.0}}}, suggestion, lr=0.2)
    {'model': {'lr': 0.2}}

    Args:
        config: the resolved config of a subcommand.
        suggestion: as found.
        lr: learning rate to build the optimizer with, which depends on its schedule.

    Returns:
        The sections of the new config; empty if the config has no place for a learning rate.
    """
    found: dict[str, Any] = {}
    if (option := lr_option(config)) is not None:
        # Without init_args, the form that a script with a fixed class and one with any class both take.
        section, _, name = option.replace(".init_args", "").partition(".")
        found[section] = {name: lr}
    callbacks = _as_list((config.get("trainer") or {}).get("callbacks"))
    changed = [_with_bounds(each, suggestion) for each in callbacks if _name(each) not in _finders()]
    if changed != callbacks:
        found["trainer"] = {"callbacks": changed}
    return found


def _as_list(callbacks: Any) -> list[dict[str, Any]]:
    if callbacks is None:
        return []
    return list(callbacks) if isinstance(callbacks, list) else [callbacks]


def _name(callback: dict[str, Any]) -> str:
    return str(callback.get("class_path")).rpartition(".")[2]


def _finders() -> set[str]:
    return {each.__name__ for each in LRFinder.__subclasses__()}


def _with_bounds(callback: dict[str, Any], suggestion: Suggestion) -> dict[str, Any]:
    fields = BOUNDS.get(_name(callback), {})
    arguments = callback.get("init_args") or {}
    if not fields or any(arguments.get(name) is not None for name in fields):
        return callback
    return {**callback, "init_args": {**arguments, **{n: getattr(suggestion, f) for n, f in fields.items()}}}


def fit_command(program: str, subcommand: str, args: Sequence[str], found: Path) -> str:
    """The command that trains with what was found: the one that found it, without the options of the test.

    >>> fit_command("lightning-lr", "lr_search", ["lr_search", "-c", "a.yaml", "--json"], Path("lr_found.yaml"))
    'lightning-lr fit -c a.yaml -c lr_found.yaml'

    Args:
        program: what starts the command line.
        subcommand: that found it.
        args: of the command line.
        found: the file of the config, which comes last since later options win.
    """
    of_finders = ("--lr_range_test", "--lr_search")
    kept: list[str] = []
    previous = ""
    for arg in args:
        is_value = previous.startswith(of_finders) and "=" not in previous and not arg.startswith("-")
        if not is_value and not arg.startswith(of_finders) and arg != "--json":
            kept.append(arg)
        previous = arg
    if subcommand in kept:
        kept[kept.index(subcommand)] = "fit"
    return f"{program} {shlex.join([*kept, '-c', str(found)])}"
