"""The command `preview`: the picture of a schedule, without training."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from lightning_lr.callbacks._scheduled_lr import ScheduledLR
from lightning_lr.range_test.suggestion import Suggestion
from lightning_lr.trainer.lightning_packages import Callback
from lightning_lr.trainer.output_files import try_folder, whole_file

_DRAWN_EPOCH_STEPS = 100  # steps per epoch that are drawn if nobody gives their number: enough for a smooth line


class _RunLength(NamedTuple):
    """The length of the run that is drawn.

    Attributes:
        steps: optimizer steps.
        steps_per_epoch: optimizer steps of an epoch, if known.
        in_epochs: whether the number of steps per epoch is not known, so that the figure counts epochs.
    """

    steps: int
    steps_per_epoch: int | None
    in_epochs: bool = False


def main(args: Sequence[str]) -> None:
    """Run the command.

    Args:
        args: its arguments.
    """
    parser = argparse.ArgumentParser(
        prog="lightning-lr preview", description="Draw the schedule of a config without training."
    )
    parser.add_argument("-c", "--config", type=Path, required=True, help="YAML file of a LightningCLI")
    parser.add_argument("-o", "--output", type=Path, default=Path("preview.png"), help="picture to write")
    parser.add_argument("--steps", type=int, help="optimizer steps of the run; by default from the trainer's section")
    parser.add_argument("--steps_per_epoch", type=int, help="optimizer steps of an epoch")
    given = parser.parse_args(args)
    try:
        preview(given.config, given.output, given.steps, given.steps_per_epoch)
    except yaml.YAMLError as error:
        parser.exit(2, f"{parser.prog}: {given.config} is not YAML: {' '.join(str(error).split())}\n")
    except (OSError, ValueError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


def preview(config: Path, output: Path, steps: int | None = None, steps_per_epoch: int | None = None) -> None:
    """Draw the schedule that a config names.

    Args:
        config: YAML file of a LightningCLI, whose ``trainer.callbacks`` name the schedule.
        output: picture to write.
        steps: optimizer steps of the run; from ``trainer.max_steps`` or ``max_epochs`` if None.
        steps_per_epoch: optimizer steps of an epoch. If None, and all lengths are epochs or shares, 100 are drawn.

    Raises:
        ValueError: if the config names no schedule or more than one, a length is not known, or ``output`` has no
            suffix or a folder that cannot be written to.
    """
    if not output.suffix or output.is_dir():
        raise ValueError(f"output must be a file whose suffix gives the format, got {output}: add .png, .pdf or .svg.")
    loaded = yaml.safe_load(config.read_text())
    trainer = _section(_section(loaded, "fit") or loaded, "trainer")
    callback = _build_schedule(trainer)
    run = _run_length(trainer, callback, steps, steps_per_epoch)
    is_share = callback.bounds_left_open
    if is_share:  # a range test will set the bounds; until then max_lr is 1, and all is drawn as a share of it
        callback.set_bounds_from(Suggestion(1.0, 0.25, 1.0, 1.0, True, ()))
    figure = callback.preview(run.steps, run.steps_per_epoch).figure(
        _DRAWN_EPOCH_STEPS if run.in_epochs else None, of_max_lr=is_share
    )
    if failure := try_folder(output.parent):
        raise ValueError(f"output must lie in a folder that can be written to, got {output} ({failure}).")
    with whole_file(output) as path:
        figure.savefig(path)
    length = f"{run.steps // _DRAWN_EPOCH_STEPS} epochs" if run.in_epochs else f"{run.steps} steps"
    print(f"{type(callback).__name__} over {length}: {output}")


def _run_length(
    trainer: dict[str, Any], callback: ScheduledLR, steps: int | None, steps_per_epoch: int | None
) -> _RunLength:
    if steps_per_epoch is not None and steps_per_epoch < 1:
        raise ValueError(f"steps_per_epoch must be at least 1, got {steps_per_epoch}.")
    if steps is not None:
        return _RunLength(steps, steps_per_epoch)
    max_steps, max_epochs = _limit(trainer, "max_steps"), _limit(trainer, "max_epochs")
    if max_epochs is None:
        if max_steps is None:
            raise ValueError("the length of the run is not in the trainer's section: give --steps.")
        return _RunLength(max_steps, steps_per_epoch)
    if steps_per_epoch is not None:
        epoch_steps = max_epochs * steps_per_epoch
        return _RunLength(epoch_steps if max_steps is None else min(max_steps, epoch_steps), steps_per_epoch)
    if max_steps is not None:
        return _RunLength(max_steps, None)
    if "" in callback.length_units:
        raise ValueError("some lengths are in steps, the run is in epochs: give --steps_per_epoch.")
    return _RunLength(max_epochs * _DRAWN_EPOCH_STEPS, _DRAWN_EPOCH_STEPS, in_epochs=True)


def _build_schedule(trainer: dict[str, Any]) -> ScheduledLR:
    """Build the one schedule among the callbacks of a config's trainer section."""
    from jsonargparse import ArgumentError, ArgumentParser

    entries = trainer.get("callbacks") or []
    entries = [
        {"class_path": entry} if isinstance(entry, str) else entry
        for entry in (entries if isinstance(entries, list) else [entries])
    ]
    names = {each.__name__ for each in ScheduledLR.__subclasses__()}
    for entry in entries:
        if not isinstance(entry, dict):
            raise ValueError(f"trainer.callbacks must hold classes only, got {entry!r}: remove it.")
    ours = [entry for entry in entries if str(entry.get("class_path")).split(".")[-1] in names]
    if len(ours) != 1:
        change = "leave one of them in the config" if ours else "the config has no schedule, so add one"
        raise ValueError(f"trainer.callbacks must name one of {', '.join(sorted(names))}, got {len(ours)}: {change}.")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--callback", type=Callback)
    try:
        built = parser.instantiate_classes(parser.parse_object({"callback": ours[0]}))
    except ArgumentError as error:
        raise ValueError(str(error)) from error
    callback: ScheduledLR = built["callback"]
    return callback


def _limit(trainer: dict[str, Any], name: str) -> int | None:
    """A limit of the run in a trainer section, None if there is none."""
    limit = trainer.get(name)
    if limit in (None, -1):
        return None
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise ValueError(f"trainer.{name} must be a whole number of at least 1, got {limit!r}.")
    return limit


def _section(config: Any, name: str) -> dict[str, Any]:
    section = config.get(name) if isinstance(config, dict) else None
    return section if isinstance(section, dict) else {}
