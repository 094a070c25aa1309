"""`LRCLI`: a LightningCLI that can find a learning rate without training. `LRCommands` is what it adds."""

from __future__ import annotations

import sys
from argparse import SUPPRESS
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from lightning_lr.before_fit import lr_range_test, lr_search, run_before_fit
from lightning_lr.callbacks.lr_range_test import LRRangeTest
from lightning_lr.callbacks.lr_search import LRSearch
from lightning_lr.command_line.found_config import fit_command, found_config
from lightning_lr.command_line.short_errors import ShortErrors, causes, is_of_parser, own_error
from lightning_lr.range_test.suggestion import Suggestion
from lightning_lr.trainer.output_files import report_file, try_folder

# Exit statuses.
BAD_ARGUMENTS, NOT_CONFIDENT, NOT_WRITTEN = 2, 3, 4
FOUND_CONFIG = "lr_found.yaml"
_FINDERS: dict[str, type[LRRangeTest] | type[LRSearch]] = {"lr_range_test": LRRangeTest, "lr_search": LRSearch}
_NO_OPTION = f"{FOUND_CONFIG} was not written: give the model an argument lr, so that a config can hold it."
_NOT_OPTIONS = {"apply", "at_epochs"}  # of a callback within a run


if TYPE_CHECKING:
    _LightningCLI = LightningCLI
else:
    _LightningCLI = object  # the class beside it in `LRCLI`, which can be that of either package


class LRCommands(_LightningCLI):
    """The subcommands ``lr_range_test`` and ``lr_search``, for the LightningCLI of either package.

    Attributes:
        result: what was found; None after another subcommand.
    """

    _trainer_class: type[Any]
    _parser_class: type[Any]
    result: Suggestion | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        args_given = kwargs.get("args")
        self._args = sys.argv[1:] if args_given is None else args_given
        kwargs["trainer_class"] = _with_subcommands(kwargs.get("trainer_class", self._trainer_class))
        super().__init__(*args, **kwargs)

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        parser = super().init_parser(**kwargs)
        if type(parser) in self._parser_class.__bases__:  # else it is a class of the user's
            parser.__class__ = self._parser_class  # older versions of Lightning have no argument for it
        return parser

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        given = LightningCLI.subcommands()
        return {**given, **dict.fromkeys(_FINDERS, given["fit"])}

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        super().add_core_arguments_to_parser(parser)
        for name, finder in _FINDERS.items():
            parser.add_class_arguments(finder, name, instantiate=False, skip=set(_NOT_OPTIONS))
            parser.set_defaults({f"{name}.output_dir": "."})
        # Of all subcommands, so that they take one config. Without a default, so that few configs hold it.
        parser.add_argument(
            "--json", action="store_true", default=SUPPRESS, help="Print the result of a test alone, as JSON."
        )

    def before_instantiate_classes(self) -> None:
        if self.subcommand in _FINDERS:  # before the model is built, which may take long
            if self._get(self.config, "ckpt_path") is not None:
                self._exit("ckpt_path must be left out: a test before fit begins with a new model.")
            options = self._options()
            try:
                _FINDERS[self.subcommand](apply=False, **options)
            except ValueError as error:
                self._exit(str(error))
            folder = options["output_dir"]
            if folder is not None:
                if failure := try_folder(Path(folder)):
                    self._exit(f"output_dir must be a folder that can be written to, got {folder} ({failure}).")
                # That of an earlier test may be for another model. It must not stay if this test fails.
                (Path(folder) / FOUND_CONFIG).unlink(missing_ok=True)

    def instantiate_classes(self) -> None:
        try:
            with redirect_stdout(self._messages):  # constructors may print
                super().instantiate_classes()
        except Exception as error:
            led_to_it = causes(error)
            if message := next((text for each in led_to_it if (text := own_error(each)) is not None), None):
                self._exit(message)
            if is_of_parser(error) and not is_of_parser(led_to_it[-1]):
                raise led_to_it[-1] from None  # that of a constructor, without what jsonargparse made of it
            raise

    def lr_range_test(self, **kwargs: Any) -> None:
        """Run the subcommand."""
        self._find("lr_range_test", kwargs)

    def lr_search(self, **kwargs: Any) -> None:
        """Run the subcommand."""
        self._find("lr_search", kwargs)

    def _find(self, name: str, fit_arguments: dict[str, Any]) -> None:
        options = self._options()
        is_json = bool(self._get(self.config, "json"))
        data = {key: fit_arguments[key] for key in ("model", "datamodule") if key in fit_arguments}
        with TemporaryDirectory() as temporary, redirect_stdout(self._messages):
            asked = options.pop("output_dir")
            folder = Path(asked or temporary)
            written = folder / f"{name}.json"
            before = _version(written)  # a file may be there from an earlier test
            try:
                finder = _FINDERS[name](apply=False, output_dir=folder, **options)
                result = run_before_fit(finder, self.trainer, **data)
            except Exception as error:
                if (message := own_error(error)) is None:
                    raise
                self._exit(message)
            lr, self.result = finder.optimizer_lr, result
            if not self.trainer.is_global_zero:  # the first of several processes writes and prints
                return
            is_written = _version(written) != before
            is_kept = is_written and asked is not None
            found = found_config(self._resolved_config(), result, lr)
            if is_kept and found:
                with report_file(folder / FOUND_CONFIG) as path:
                    path.write_text(yaml.safe_dump(found, sort_keys=False))
            if is_json and not is_written:
                self._exit(f"{written} could not be written.", NOT_WRITTEN)
            is_missing = asked is not None and not (folder / FOUND_CONFIG).exists()
            command = "" if is_missing else self._fit_command(folder / FOUND_CONFIG)
            text = written.read_text() if is_json else _summary(result, lr, name, folder if is_kept else None, command)
        print(text, end="")
        status = NOT_WRITTEN if result.confident else NOT_CONFIDENT
        if is_missing:
            self._exit(f"{folder / FOUND_CONFIG} was not written: see above." if found else _NO_OPTION, status)
        if not result.confident:
            raise SystemExit(status)

    @property
    def _messages(self) -> TextIO:
        """Where all goes but the result."""
        return sys.stderr if self.subcommand in _FINDERS and self._get(self.config, "json") else sys.stdout

    def _options(self) -> dict[str, Any]:
        """The arguments of the finder."""
        assert self.subcommand is not None
        return dict(self._get(self.config, self.subcommand).as_dict())

    def _resolved_config(self) -> dict[str, Any]:
        config = self.config.get(str(self.subcommand), self.config)
        loaded: dict[str, Any] = yaml.safe_load(self._parser(self.subcommand).dump(config, skip_none=False))
        return loaded

    def _fit_command(self, found: Path) -> str:
        if not isinstance(self._args, list):  # a script has given a config in their place
            return f"fit with the same config and then -c {found}"
        is_script = self.parser.prog.endswith(".py")
        return fit_command(
            f"python {sys.argv[0]}" if is_script else self.parser.prog, str(self.subcommand), self._args, found
        )

    def _exit(self, message: str, status: int = BAD_ARGUMENTS) -> NoReturn:
        print(f"{self.parser.prog} {self.subcommand}: {message}", file=sys.stderr)
        raise SystemExit(status)


class ShortErrorParser(ShortErrors, LightningArgumentParser):
    """The parser of `LRCLI`."""


class LRCLI(LRCommands, LightningCLI):
    """A LightningCLI with the subcommands ``lr_range_test`` and ``lr_search`` beside ``fit``.

    Use it in a script in the place of ``LightningCLI``, with the same arguments. All subcommands take the same configs.
    The options of a test are ``--lr_range_test.num_steps``, ``--lr_search.budget`` and so on, see `LRRangeTest` and
    `LRSearch`. The test trains nothing for good. It prints what it found, and writes to ``output_dir``, by default the
    current folder: curve, result and figure, and ``lr_found.yaml`` for ``fit -c config.yaml -c lr_found.yaml``.
    With ``--json`` the result alone is printed, as the file holds it; the rest goes to standard error.

    It is for modules of ``lightning.pytorch``. ``lightning_lr.command_line.pytorch_lightning`` has the same class for
    those of ``pytorch_lightning``.

    Args:
        *args: as for ``LightningCLI``.
        **kwargs: as for ``LightningCLI``; ``trainer_class`` must be a class.

    Attributes:
        result: what was found; None after another subcommand.

    Raises:
        SystemExit: with status 2 for bad arguments, with 3 if the result is not confident, with 4 if it is but
            ``lr_found.yaml`` could not be written.
    """

    _trainer_class = Trainer
    _parser_class = ShortErrorParser


def _with_subcommands(trainer_class: type[Trainer]) -> type[Trainer]:
    """A subclass with a method for each subcommand, as LightningCLI demands."""
    methods = {
        "lr_range_test": _like_fit(lr_range_test, "Find a learning rate by a sweep, without training."),
        "lr_search": _like_fit(lr_search, "Find a learning rate in short trainings, without training for good."),
    }
    return type(trainer_class.__name__, (trainer_class,), {**methods, "__module__": trainer_class.__module__})


def _like_fit(function: Callable[..., Suggestion], description: str) -> Callable[..., Suggestion]:
    """A method with the signature of ``fit``, so that its subcommand accepts the configs of ``fit``."""

    @wraps(Trainer.fit)
    def method(trainer: Trainer, **arguments: Any) -> Suggestion:
        return function(trainer, **arguments)

    method.__doc__ = description
    return method


def _version(path: Path) -> int | None:
    """Differs after a file has been written; None if there is none."""
    return path.stat().st_mtime_ns if path.exists() else None


def _summary(result: Suggestion, lr: float, name: str, folder: Path | None, fit: str) -> str:
    rows = [
        ("learning rate", f"{result.lr:.3g}"),
        ("with a decay to 0", f"{result.decay_lr:.3g}"),
        *([("for this schedule", f"{lr:.3g}")] if lr != result.lr else []),
        ("cycle bounds", f"{result.base_lr:.3g} to {result.max_lr:.3g}"),
        ("confident", "yes" if result.confident else "no"),
        *(("", reason) for reason in result.reasons),
    ]
    if folder is not None:
        files = [*(f"{name}.{kind}" for kind in ("png", "csv", "json")), *([FOUND_CONFIG] if fit else [])]
        rows.append(("written", ", ".join(str(folder / file) for file in files)))
        if fit:
            rows.append(("to train with it", fit))
    return "".join(f"{head:<19}{text}\n" for head, text in rows)
