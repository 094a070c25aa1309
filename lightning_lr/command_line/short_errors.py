"""Errors of jsonargparse in one to three lines: argument, rule, value. Its own list every type that it has tried."""

from __future__ import annotations

import re
import sys
import traceback
from difflib import get_close_matches
from types import ModuleType
from typing import TYPE_CHECKING, NoReturn

from jsonargparse import ArgumentParser
from torch import optim

import lightning_lr
from lightning_lr.trainer.lightning_packages import either

_CALLBACKS = [
    name for name in lightning_lr.__all__ if name.endswith("LR") or name in ("LRRangeTest", "LRSearch", "LRTrace")
]
_PACKAGE = r"(?:lightning(?:\.pytorch)?|pytorch_lightning)"
# What jsonargparse says of the types that a value was not meant to be.
_OTHER_TYPES = re.compile(
    r"Expected a <class '(NoneType|list)'>|Expected a path but|Not a valid subclass of"
    rf"|Problem with given class_path '{_PACKAGE}\.(Callback|LightningModule|LightningDataModule)'"
)
_WITHOUT_CLASS = re.compile(rf"Problem with given class_path '{_PACKAGE}\.Lightning(Module|DataModule)':\s+Option")
_MISCONFIGURATION = either("utilities.exceptions.MisconfigurationException")
_FABRIC = ("lightning.fabric.", "lightning_fabric.")  # devices and precision: it calls no hook of the user
_LIGHTNING = ("lightning.", "pytorch_lightning.", *_FABRIC)
_REFUSING = ("lightning_lr.", *_LIGHTNING)  # modules that raise it
_BESIDE = ("jsonargparse.", "torch.", "contextlib")  # modules between the command line and a check of Lightning
_ONE_OF_SEVERAL_LISTS = re.compile(r"Expected a typing\.Literal\[(.*)\]$", re.MULTILINE)
_BULLET = re.compile(r"^ *- ")
_MOST_LINES = 3


if TYPE_CHECKING:
    _Parser = ArgumentParser
else:
    _Parser = object  # the parser of a LightningCLI of either package, which inherits from ArgumentParser


class ShortErrors(_Parser):
    """Makes a parser of a LightningCLI print errors of at most three lines."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        if not self.exit_on_error:
            super().error(message, ex)
        parser = getattr(ex, "subcommand_parser", None) or self
        program = parser.prog.replace(" [options]", "") if isinstance(parser, ArgumentParser) else self.prog
        print(f"{program}: {short_error(message)}", file=sys.stderr)
        raise SystemExit(2)


def short_error(message: str) -> str:
    """A message of jsonargparse as one sentence.

    >>> print(short_error("unrecognized arguments: --nope=1"))
    unrecognized arguments: --nope=1

    Args:
        message: as jsonargparse gives it to ``ArgumentParser.error``.
    """
    keys = re.findall(r'Parser key "([^"]+)"', message)
    owner = f"{keys[0]}: " if keys else ""
    for reason in _reasons(message):
        if found := re.match(r"Expected a dot import path string: (\S+)", reason):
            return owner + _unknown_class(found[1], keys)
        if found := re.match(r"Import path does not correspond to a subclass of (\w+)", reason):
            rule = f"a {found[1]} of the package of the Trainer (lightning or pytorch_lightning)"
            return f"{owner}must be {rule}, got {_value(message)}."
        if found := re.match(r"Problem with given class_path '([^']+)':\s*(.*)", reason, re.DOTALL):
            is_ours = found[1].startswith("lightning_lr.") and "has no attribute" in found[2]
            return owner + (_unknown_class(found[1], keys) if is_ours else f"{found[1]}: {_rule(found[2])}")
        if _ONE_OF_SEVERAL_LISTS.match(reason):
            choices = ", ".join(_ONE_OF_SEVERAL_LISTS.findall(message)).replace("'", "").split(", ")
            return f"{owner}must be one of {', '.join(dict.fromkeys(choices))}, got {_value(message)}."
        if not (found := re.match(r"Expected an? <class '(\w+)'>", reason)):
            return owner + _rule(reason)
        return owner + _rule(message.partition(":")[2])
    if found := _WITHOUT_CLASS.search(message):
        return f"{owner}its class is not known: name it by --{keys[0]} my_package.My{found[1]}."
    if found := re.match(r"the following arguments are required: (.*)", message):
        names = (name.rpartition(".")[2] for name in found[1].split(", "))
        return f"required: {', '.join(f'--{name}' for name in names)}."
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return "\n".join(lines[:_MOST_LINES])


def own_error(error: BaseException) -> str | None:
    """The message of an error by which this package, or Lightning, refuses a setting, in one line; None for any other.

    An error of the user's code, or of a library that it calls, needs its traceback.
    """
    raised_in = _module_of(error)
    refuses = (
        (isinstance(error, ValueError) and raised_in.startswith(("lightning_lr.", "lightning_lr_plugin")))
        or (isinstance(error, ValueError) and raised_in.startswith(_LIGHTNING) and not _led_through_user_code(error))
        or (isinstance(error, (TypeError, ImportError)) and raised_in.startswith(_FABRIC))
        or (isinstance(error, RuntimeError) and raised_in == "lightning_lr.before_fit")
        or (isinstance(error, _MISCONFIGURATION) and raised_in.startswith(_REFUSING))
    )
    return " ".join(str(error).split()) if refuses else None


def causes(error: BaseException) -> list[BaseException]:
    """An error, and those that led to it, the first one last. jsonargparse makes a list of types from an error."""
    found = [error]
    while (cause := found[-1].__cause__ or found[-1].__context__) is not None:
        found.append(cause)
    return found


def is_of_parser(error: BaseException) -> bool:
    """Whether jsonargparse itself has raised an error."""
    return _module_of(error).startswith("jsonargparse.")


def _module_of(error: BaseException) -> str:
    """The name of the module that has raised an error."""
    return ["", *_modules_of(error)][-1]


def _led_through_user_code(error: BaseException) -> bool:
    """Whether a hook of the user, or a library that is not known here, stands in the traceback of an error."""
    return not all(name.startswith((*_REFUSING, *_BESIDE)) for name in _modules_of(error))


def _modules_of(error: BaseException) -> list[str]:
    """The names of the modules in the traceback of an error, the one that has raised it last."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return [str(frame.f_globals.get("__name__", "")) for frame in frames]


def _reasons(message: str) -> list[str]:
    """The reasons of the types that a value may have been meant to be, each with its continuation lines."""
    body = re.split(r"\n *Given value type:", message)
    listed = "\nGiven value type:".join(body[:-1] or body)  # those before belong to a nested type
    listed = listed.partition("Errors:")[2] if "Errors:" in listed else listed
    reasons: list[str] = []
    indent = None
    for line in listed.splitlines():
        bullet = _BULLET.match(line)
        if bullet and indent in (None, bullet[0]):
            indent = bullet[0]
            reasons.append(_BULLET.sub("", line))
        elif reasons:
            reasons[-1] += f"\n{line.strip()}"
    if not reasons and (single := re.match(r'Parser key "[^"]+":\s*(.*)', listed, re.DOTALL)):
        reasons = [single[1]]
    return [reason for reason in reasons if not _OTHER_TYPES.match(reason)]


def _rule(reason: str) -> str:
    """What an argument must be, as a sentence."""
    if found := re.search(r"Option '(\w+)' is not accepted", reason):
        return f"it has no argument {found[1]}."
    key = re.search(r'Parser key "([^"]+)":', reason)
    name = f"{key[1]} " if key else ""
    if found := re.search(r"Expected a typing\.Literal\[(.*?)\]\. Got value: (.*)", reason):
        return f"{name}must be one of {found[1]}, got {found[2]}.".replace("'", "")
    if expected := list(dict.fromkeys(re.findall(r"Expected an? <class '(\w+)'>", reason))):
        return f"{name}must be {' or '.join(expected).replace('NoneType', 'null')}, got {_value(reason)}."
    return " ".join(reason.split())


def _value(message: str) -> str:
    found = re.search(r"(?:Given value|Got value): (.*)", message)
    value = found[1] if found else "another value"
    nested = re.match(r"NestedArg\(key='.*', val=(.*)\)", value)
    return nested[1] if nested else value


def _unknown_class(name: str, keys: list[str]) -> str:
    """The class may be missing or misspelt. The keys say of which kind it is."""
    module: ModuleType = {"optimizer": optim, "lr_scheduler": optim.lr_scheduler}.get("".join(keys[:1]), lightning_lr)
    classes = _CALLBACKS if module is lightning_lr else [each for each in vars(module) if each[0].isupper()]
    close = get_close_matches(name.rpartition(".")[2].lower(), [each.lower() for each in classes], n=1)
    meant = next((each for each in classes if [each.lower()] == close), None)
    path = f"{module.__name__}.{meant or classes[0]}"
    return f"no class {name} is known: {f'did you mean {path}?' if meant else f'give its full path, such as {path}.'}"
