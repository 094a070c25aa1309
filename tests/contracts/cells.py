"""One cell of the support matrix: it trains with a callback and without it, and says what became of it."""

from __future__ import annotations

import copy
import itertools
import logging
import math
import os
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

import lightning_lr
from lightning_lr.optimizers.param_groups import set_lr
from tests.contracts.loops import LOOPS, Loop
from tests.contracts.rows import ROWS
from tests.contracts.settings import PRECISIONS, STRATEGIES
from tests.helpers.lightning_classes import PACKAGE, Callback, LightningModule, MisconfigurationException, Trainer, seed_everything

Rates = list[list[list[float]]]  # of each optimizer, step and group
QUIET: dict[str, Any] = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


class Cell(NamedTuple):
    """Names of `ROWS`, `STRATEGIES`, `PRECISIONS` and `LOOPS`."""

    row: str
    strategy: str
    precision: str
    loop: str


class Outcome(NamedTuple):
    """What became of a cell, and why if it does not work."""

    kind: Literal["works", "refused", "not tried", "fails"]
    why: str = ""


class OwnRates(Callback):
    """Records the learning rates that each optimizer step of the training uses, or sets those of another run.

    It is not called in rehearsals, whose steps are not recorded. `HypergradientLR` may shorten the first step of an
    optimizer, so the parameters behind it are recorded and set too.
    """

    def __init__(self, replayed: OwnRates | None = None) -> None:
        self.replayed, self.recorded = replayed, Rates()
        self.first_steps: list[list[Tensor]] = []  # of each optimizer, the parameters behind it
        self._trains = False

    def on_train_start(self, trainer: Trainer, *_: Any) -> None:
        self.recorded = [[] for _ in trainer.optimizers]
        self.first_steps = [[] for _ in trainer.optimizers]
        for i, optimizer in enumerate(trainer.optimizers):
            optimizer.register_step_pre_hook(lambda optimizer, args, kwargs, i=i: self._before_step(i, optimizer))
            optimizer.register_step_post_hook(lambda optimizer, args, kwargs, i=i: self._after_step(i, optimizer))

    def on_train_batch_start(self, *_: Any) -> None:
        self._trains = True

    def on_train_batch_end(self, *_: Any) -> None:
        self._trains = False

    def _before_step(self, i: int, optimizer: Any) -> None:
        if self._trains:
            if self.replayed is not None:
                lrs = self.replayed.recorded[i][len(self.recorded[i])]
                for group, lr in zip(optimizer.param_groups, lrs, strict=True):
                    set_lr(group, lr)
            self.recorded[i].append([float(group["lr"]) for group in optimizer.param_groups])

    def _after_step(self, i: int, optimizer: Any) -> None:
        if self._trains and len(self.recorded[i]) == 1:
            parameters = [parameter.data for group in optimizer.param_groups for parameter in group["params"]]
            if self.replayed is not None:
                for parameter, value in zip(parameters, self.replayed.first_steps[i], strict=True):
                    parameter.copy_(value)
            self.first_steps[i] = [parameter.clone() for parameter in parameters]


@dataclass
class Trained:
    """A run that has ended.

    Attributes:
        rates: learning rates.
        weights: all of the module's state.
        goes_on: the Trainer's steps after another fit with the same objects; None if that was not tried.
        callbacks: of the row.
        error: what ended it, None if nothing did.
    """

    rates: OwnRates = field(default_factory=OwnRates)
    weights: list[Tensor] = field(default_factory=list)
    goes_on: int | str | None = None
    callbacks: Sequence[Callback] = ()
    error: Exception | None = None


@contextmanager
def quiet() -> Iterator[None]:
    """Without messages and warnings. Other tests ask for these."""
    logger = logging.getLogger(PACKAGE)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def train(cell: Cell, callbacks: Sequence[Callback] = (), replayed: OwnRates | None = None, steps: int = 0) -> Trained:
    """Train as a cell says.

    Args:
        cell: whose row is not looked at.
        callbacks: of the row.
        replayed: learning rates to use.
        steps: of each optimizer, where the loop leaves them to a clock.
    """
    loop, rates = LOOPS[cell.loop], OwnRates(replayed)
    arguments = {**QUIET, **STRATEGIES[cell.strategy](), **PRECISIONS[cell.precision](), **loop.arguments()}
    if steps:
        arguments |= {"max_time": None, "max_steps": steps}
    seed_everything(1, verbose=False)
    try:
        trainer = Trainer(**{**arguments, "callbacks": [*callbacks, *arguments.get("callbacks", []), rates]})
        module = loop.module()
        trainer.fit(module, loop.data())
    except Exception as error:
        return Trained(error=error)
    weights = [_local(each).clone() for each in module.state_dict().values() if isinstance(each, Tensor)]
    own = copy.copy(rates)  # another fit records anew
    return Trained(own, weights, _another_fit(trainer, module, loop), callbacks)


def _local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _another_fit(trainer: Trainer, module: Any, loop: Loop) -> int | str | None:
    if not loop.steps or vars(trainer)["fast_dev_run"]:
        return None
    if trainer.max_steps == -1:
        trainer.fit_loop.max_epochs = trainer.current_epoch + 1
    else:
        trainer.fit_loop.epoch_loop.max_steps = trainer.global_step + 2 * loop.optimizers
    try:
        trainer.fit(module, loop.data())
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return trainer.global_step


@lru_cache(maxsize=None)
def _without(strategy: str, precision: str, loop: str) -> Trained:
    return train(Cell("", strategy, precision, loop))


def run_cell(cell: Cell) -> Outcome:
    """Run a cell in this process, or on this rank of all of its processes."""
    if LOOPS[cell.loop].needs:
        return Outcome("not tried", LOOPS[cell.loop].needs)
    with quiet():
        plain = _without(*cell[1:])
        if plain.error is not None:
            return Outcome("not tried", f"without a callback too: {_sentence(plain.error)}")
        trained = train(cell, ROWS[cell.row].make())
        if trained.error is not None:
            return Outcome("refused" if _is_refusal(trained.error) else "fails", _sentence(trained.error))
        why = next(_complaints(cell, plain, trained), "")
    return Outcome("fails", why) if why else Outcome("works")


def _complaints(cell: Cell, plain: Trained, trained: Trained) -> Iterator[str]:
    """What is not as the row promises."""
    row, loop, rates = ROWS[cell.row], LOOPS[cell.loop], trained.rates.recorded
    steps = [len(each) for each in rates]
    if loop.steps and steps != [len(each) for each in plain.rates.recorded]:
        yield f"{steps} optimizer steps instead of {[len(each) for each in plain.rates.recorded]}"
    if not all(math.isfinite(lr) for each in rates for lrs in each for lr in lrs):
        yield "a learning rate is not finite"
    if row.promise == "observes" and loop.steps:
        if rates != plain.rates.recorded:
            yield "the learning rates are not those of a run without it"
        if not _equal(trained.weights, plain.weights):
            yield "the weights are not those of a run without it"
    else:
        same = train(cell, replayed=trained.rates, steps=0 if loop.steps else sum(steps))
        if same.error is not None or not _equal(trained.weights, same.weights):
            yield "the weights are not those of a run without it that uses the same learning rates"
    used = [[max(lrs) for lrs in each] for each in rates]
    if row.promise == "finds" and (result := trained.callbacks[0].result) is not None:  # type: ignore[attr-defined]
        first = max(each[0] for each in used if each)
        if not any(math.isclose(first, lr, rel_tol=0.01) for lr in (result.lr, result.max_lr)):
            yield f"training starts at {first} instead of {result.lr}"
    if row.promise == "schedules" and loop.steps and cell.loop != "fast_dev_run":  # which may cut a schedule
        expected = trained.callbacks[0].preview(loop.steps, loop.steps).lr.tolist()  # type: ignore[attr-defined]
        for each in used:
            if each != pytest.approx(expected[: len(each)], rel=0.01, abs=1e-6):  # a tensor may be a 16-bit number
                yield f"learning rates {each} instead of {expected}"
    if isinstance(plain.goes_on, int) and trained.goes_on != plain.goes_on:
        yield f"another fit ends with {trained.goes_on} instead of step {plain.goes_on}"
    if files := [path.name for path in Path.cwd().rglob("*") if path.is_file()]:
        for name in files:
            next(Path.cwd().rglob(name)).unlink()
        yield f"files left: {', '.join(files)}"


def _equal(first: Sequence[Tensor], second: Sequence[Tensor]) -> bool:
    pairs = itertools.zip_longest(first, second)
    return all(torch.equal(a.nan_to_num(1.0, 2.0, 3.0), b.nan_to_num(1.0, 2.0, 3.0)) for a, b in pairs)


def _is_refusal(error: Exception) -> bool:
    """Whether it is a sentence of this package."""
    frames = traceback.extract_tb(error.__traceback__)
    is_ours = bool(frames) and Path(frames[-1].filename).is_relative_to(Path(lightning_lr.__file__).parent)
    return is_ours and isinstance(error, (ValueError, MisconfigurationException)) and "\n" not in str(error)


def _sentence(error: Exception) -> str:
    """The first line of an error, with its kind if it is not ours."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0].replace(os.getcwd(), "")
    return line if _is_refusal(error) else f"{type(error).__name__}: {line}"
