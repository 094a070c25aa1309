"""What users of the package meet: arguments, logged keys and keys of checkpoints, as lines of text to compare."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import lightning_lr
from tests.helpers.lightning_classes import Callback, CSVLogger, Logger, TensorBoardLogger

_TEXT = "/text_summary"
_STARS: dict[object, str] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}


def public_signatures() -> dict[str, list[str]]:
    """Everything that `lightning_lr` and its packages export, with its arguments as ``name`` or ``name=default``.

    Public methods are listed below their class, but not those of Lightning's `Callback`: Lightning says what their
    arguments are. A second export of the same object is listed as such.
    """
    found: dict[str, list[str]] = {}
    first_names: dict[int, str] = {}
    for name, exported in _exports().items():
        if id(exported) in first_names:
            found[name] = [f"(is {first_names[id(exported)]})"]
        else:
            first_names[id(exported)] = name
            found |= _signatures(name, exported)
    return found


def _exports() -> dict[str, Any]:
    found = {name: getattr(lightning_lr, name) for name in lightning_lr.__all__}
    for module in pkgutil.iter_modules(lightning_lr.__path__):
        if module.ispkg:
            package = importlib.import_module(f"lightning_lr.{module.name}")
            found |= {f"{module.name}.{name}": getattr(package, name) for name in getattr(package, "__all__", ())}
    return found


def _signatures(name: str, exported: Any) -> dict[str, list[str]]:
    if choices := get_args(exported):  # a Literal
        return {name: [repr(choice) for choice in choices]}
    if not isinstance(exported, type):
        return {name: _arguments(exported) if inspect.isroutine(exported) else ["(constant)"]}
    found = {name: ["(protocol)"] if getattr(exported, "_is_protocol", False) else _arguments(exported)}
    for member in dir(exported):
        if member.startswith("_") or hasattr(Callback, member) or not _is_ours(exported, member):
            continue
        if isinstance(inspect.getattr_static(exported, member), property):
            found[f"{name}.{member}"] = ["(property)"]
        elif inspect.isroutine(getattr(exported, member)):
            found[f"{name}.{member}"] = [each for each in _arguments(getattr(exported, member)) if each != "self"]
    return found


def _is_ours(cls: type, member: str) -> bool:
    owner = next(each for each in cls.__mro__ if member in vars(each))
    return owner.__module__.startswith("lightning_lr")


def _arguments(function: Any) -> list[str]:
    arguments, is_keyword_only = [], False
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not is_keyword_only:
            arguments.append("*")
            is_keyword_only = True
        default = "" if parameter.default is parameter.empty else f"={parameter.default!r}"
        arguments.append(f"{_STARS.get(parameter.kind, '')}{parameter.name}{default}")
    return arguments


class KeyRecorder(Logger):
    """A logger that keeps the keys it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: set[str] = set()

    @property
    def name(self) -> str:
        return "keys"

    @property
    def version(self) -> int:
        return 0

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.keys |= metrics.keys()

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        pass


class AllLoggers:
    """A logger of each kind that the package treats differently, and what they were given."""

    def __init__(self, folder: Path) -> None:
        self._recorder = KeyRecorder()
        self._board = TensorBoardLogger(folder, default_hp_metric=False)
        self.loggers = [self._recorder, self._board, CSVLogger(folder)]

    def keys(self, leave_out: Iterable[str]) -> list[str]:
        """Each key or tag; a remark says which ones TensorBoard alone is given."""
        tags = EventAccumulator(self._board.log_dir, {"tensors": 0, "images": 0}).Reload().Tags()
        keys, scalars = self._recorder.keys - set(leave_out), set(tags["scalars"]) - set(leave_out)
        return sorted(
            [
                *(key if key in scalars else f"{key} (not in TensorBoard)" for key in keys),
                *(f"{tag} (chart in TensorBoard)" for tag in scalars - keys),
                *(f"{tag} (figure in TensorBoard)" for tag in tags["images"]),
                *(f"{tag} (record in TensorBoard)" for tag in tags["tensors"] if tag.endswith("/record")),
                *(f"{tag.removesuffix(_TEXT)} (text in TensorBoard)" for tag in tags["tensors"] if tag.endswith(_TEXT)),
            ]
        )


def nested_keys(state: object, path: str = "") -> list[str]:
    """The path of each value: ``[]`` is any position in a list, ``*`` any key that is not a text.

    >>> nested_keys({"lr": 0.1, "points": [{"step": 0}, {"step": 1, "loss": 2.0}], "means": {0: 1.0, 1: 2.0}})
    ['lr', 'means.*', 'points[].loss', 'points[].step']
    """
    if isinstance(state, Mapping) and state:
        names = {key: key if isinstance(key, str) else "*" for key in state}
        inner = [nested_keys(value, f"{path}.{names[key]}" if path else names[key]) for key, value in state.items()]
    elif isinstance(state, (list, tuple)) and any(isinstance(each, Mapping) for each in state):
        inner = [nested_keys(each, f"{path}[]") for each in state]
    else:
        return [path]
    return sorted({key for keys in inner for key in keys})


def difference(what: str, table: Iterable[str], code: Iterable[str]) -> str:
    """What the table and the code say differently, a line each; empty if they are the same."""
    listed, actual = set(table), set(code)
    lines = [f"{what}: the table has {each!r}, the code has not" for each in sorted(listed - actual)]
    lines += [f"{what}: the code has {each!r}, the table has not" for each in sorted(actual - listed)]
    return "\n".join(lines)
