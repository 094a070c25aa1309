"""Try every feature inside one project, and print a row of JSON for each.

A project gives `fit(callbacks, logger, lr)`, which builds its model and trains it through the project's public
interface. It is trained without callbacks, and then once with each feature. Features that only find or log a learning
rate must not change the training: their run must equal, bit for bit, a run without callbacks that starts with the
learning rate that was found.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import importlib
import importlib.metadata
import json
import logging
import math
import platform
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_lr import CyclicalLR, HypergradientLR, LRRangeTest, LRSearch, LRTrace

_SEED = 3
_PREFIXES = ("lr/", "lr_range_test/", "lr_search/", "cyclical_lr/", "hypergradient/")  # of the keys that we log
_PACKAGES = ("lightning_lr", "torch", "lightning", "pytorch-lightning")  # their versions go into each row


@dataclass(frozen=True)
class Project:
    """A project and how to train it.

    Attributes:
        name: its name on PyPI.
        lightning: the package that its Trainer comes from, ``"lightning.pytorch"`` or ``"pytorch_lightning"``.
        fit: builds a new model and trains it, given callbacks, a logger and the optimizer's learning rate.
        default_lr: the project's default learning rate.
        metric: key of the validation metric that it logs. Lower is better.
    """

    name: str
    lightning: str
    fit: Callable[[list[Any], Any, float], None]
    default_lr: float
    metric: str


@dataclass(frozen=True)
class Feature:
    """Callbacks to try, and whether the training must be the same as without them."""

    callbacks: Callable[[], list[Any]]
    same_training: bool = False


FEATURES = {
    "plain": Feature(list),
    "LRTrace": Feature(lambda: [LRTrace()], same_training=True),
    "LRRangeTest": Feature(lambda: [LRRangeTest()], same_training=True),
    "CyclicalLR": Feature(lambda: [LRRangeTest(), CyclicalLR(step_size="0.125run", replace_scheduler=True)]),
    "HypergradientLR": Feature(lambda: [HypergradientLR()]),
    "LRSearch": Feature(lambda: [LRSearch()], same_training=True),
}


@dataclass
class Run:
    """One training, as the recorder saw it."""

    losses: list[float] = field(default_factory=list)
    lrs: list[float] = field(default_factory=list)
    metric: float = math.nan
    weights: str = ""  # a digest
    callbacks: list[Any] = field(default_factory=list)  # of the Trainer: the project may copy those it is given
    figures: list[str] = field(default_factory=list)
    scalars: list[str] = field(default_factory=list)

    def differs_from(self, other: Run) -> str | None:
        """The first difference between two runs, None if they are equal bit for bit."""
        for i, (mine, theirs) in enumerate(zip(self.losses, other.losses, strict=False)):
            if mine != theirs and not (math.isnan(mine) and math.isnan(theirs)):
                return f"loss of step {i} is {mine!r}, not {theirs!r}"
        if len(self.losses) != len(other.losses):
            return f"{len(self.losses)} steps, not {len(other.losses)}"
        return None if self.weights == other.weights else "other final weights"


class _Recording:
    """The hooks of the recorder. `train` adds the Callback class of the project's Lightning."""

    def __init__(self, metric: str) -> None:
        self._metric = metric
        self.run = Run()

    def __deepcopy__(self, memo: Any) -> _Recording:
        return self  # some projects copy their callbacks

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.run.losses.append(float(outputs["loss"] if isinstance(outputs, Mapping) else outputs))

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        self.run.lrs.append(float(trainer.optimizers[0].param_groups[0]["lr"]))

    def on_fit_end(self, trainer: Any, module: Any) -> None:
        self.run.metric = float(trainer.callback_metrics.get(self._metric, math.nan))
        self.run.weights = _digest(module)
        self.run.callbacks = trainer.callbacks


def main(project: Project) -> None:
    """Try the features named on the command line, by default all, and print a row for each."""
    parser = argparse.ArgumentParser(description=f"Tries every feature inside {project.name}.")
    parser.add_argument("features", nargs="*", metavar="feature", help=", ".join(FEATURES))
    names = parser.parse_args().features or list(FEATURES)
    warnings.simplefilter("ignore")
    logging.disable(logging.INFO)
    torch.set_num_threads(1)
    plain_run = functools.cache(lambda lr: train(project, [], lr))
    facts = {
        "project": project.name,
        "trainer": project.lightning,
        "metric_key": project.metric,
        "project_version": importlib.metadata.version(project.name),
        "versions": {
            **{name: importlib.metadata.version(name) for name in _PACKAGES},
            "Python": platform.python_version(),
        },
    }
    for name in names:
        print(json.dumps({**facts, "feature": name, **_row(project, FEATURES[name], plain_run)}), flush=True)


def train(project: Project, callbacks: list[Any], lr: float) -> Run:
    """Train once, always from the same seed."""
    package = importlib.import_module(project.lightning)
    loggers = importlib.import_module(f"{project.lightning}.loggers")
    recorder = type("Recorder", (_Recording, package.Callback), {})(project.metric)
    package.seed_everything(_SEED, verbose=False)
    # standard output is for the rows, and LRSearch prints its leaderboard
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        project.fit([*callbacks, recorder], loggers.TensorBoardLogger(folder), lr)
        recorder.run.figures, recorder.run.scalars = _tags(Path(folder))
    run: Run = recorder.run
    return run


def _row(project: Project, feature: Feature, plain_run: Callable[[float], Run]) -> dict[str, Any]:
    """The result of a feature in a project, or its error."""
    try:
        return {"runs": True, **_outcome(project, feature, plain_run)}
    except Exception as error:
        return {"runs": False, "error": _sentence(error), "raised_in": _places(error)}


def _outcome(project: Project, feature: Feature, plain_run: Callable[[float], Run]) -> dict[str, Any]:
    given = feature.callbacks()
    default = plain_run(project.default_lr)
    run = train(project, given, project.default_lr) if given else default
    row: dict[str, Any] = {}
    used = [each for each in run.callbacks if any(type(each) is type(one) for one in given)]
    for result in (each.result for each in used if getattr(each, "result", None) is not None):
        row.update({key: getattr(result, key) for key in ("lr", "base_lr", "max_lr", "confident")})
    row.update(
        metric=run.metric,
        default_metric=default.metric,
        lowest_lr=min(run.lrs),
        highest_lr=max(run.lrs),
        figures=run.figures,
        scalars=run.scalars,
        copied=any(each not in given for each in used),
    )
    if feature.same_training:
        row["differs"] = run.differs_from(plain_run(run.lrs[0]))
    return row


def _digest(module: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for tensor in module.state_dict().values():
        if isinstance(tensor, torch.Tensor):
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _tags(folder: Path) -> tuple[list[str], list[str]]:
    """The figures in TensorBoard, and the scalars that this package logs."""
    figures, scalars = [], []
    for events in sorted(folder.rglob("events.out.*")):
        accumulator = EventAccumulator(str(events))
        accumulator.Reload()
        tags = accumulator.Tags()
        figures += tags["images"]
        scalars += [tag for tag in tags["scalars"] if tag.startswith(_PREFIXES)]
    return figures, scalars


def _sentence(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:400]


def _places(error: Exception) -> list[str]:
    """The last frame of this package, and the frame that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/lightning_lr/" in frame.filename][-1:]
    places = [f"{'/'.join(Path(frame.filename).parts[-3:])}:{frame.lineno}" for frame in [*ours, frames[-1]]]
    return list(dict.fromkeys(places))
