"""The time that callbacks add to a training step, against a bare loop and against what users would take instead.

All cases train in one process, in turn, in short runs with a new model each, so that a change of the machine's speed
affects all of them. Times are those of the processor, which other work on the machine does not add to.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, WeightAveraging
from lightning.pytorch.loggers import TensorBoardLogger
from torch.optim.lr_scheduler import CyclicLR
from torch.optim.lr_scheduler import OneCycleLR as TorchOneCycleLR
from torch.utils.data import DataLoader

from benchmarks.costs.models import Model, Schedulers
from benchmarks.costs.ratio import PARTS, Ratio, ratio_of_times
from benchmarks.timing import cpu_seconds, prepare_process, results_of
from lightning_lr import CyclicalLR, HypergradientLR, LRTrace, OneCycleLR, WarmupStableDecayLR
from lightning_lr.trainer.lr_tracer import TracesLR

PLAIN = "bare loop"
CYCLIC = "CyclicLR"
CYCLIC_MONITOR = "CyclicLR + LearningRateMonitor"
ONE_CYCLE_MONITOR = "torch's OneCycleLR + LearningRateMonitor"
# Steps of each run that are not counted, at most. The first round then differs from the others by no more than they do
# from each other, so there is no round of warm-up.
_FIRST_STEPS = 10
_TORCH_STEPS = 1_000_000  # torch's OneCycleLR raises after its last step


class Case(NamedTuple):
    """What trains.

    Attributes:
        callbacks: makes them.
        schedulers: makes torch's scheduler, None for none.
    """

    callbacks: Callable[[], list[Callback]] = list
    schedulers: Schedulers | None = None


def _cyclic(optimizer: torch.optim.Optimizer) -> Any:
    return CyclicLR(optimizer, 1e-3, 6e-3, 100, cycle_momentum=False)


def _one_cycle(optimizer: torch.optim.Optimizer) -> Any:
    return TorchOneCycleLR(optimizer, 6e-3, _TORCH_STEPS, cycle_momentum=False)


CASES: dict[str, Case] = {
    PLAIN: Case(),
    "CyclicalLR": Case(lambda: [CyclicalLR(1e-3, 6e-3, 100)]),
    CYCLIC_MONITOR: Case(lambda: [LearningRateMonitor("step")], _cyclic),
    "OneCycleLR": Case(lambda: [OneCycleLR(6e-3)]),
    ONE_CYCLE_MONITOR: Case(lambda: [LearningRateMonitor("step")], _one_cycle),
    "WarmupStableDecayLR": Case(lambda: [WarmupStableDecayLR(6e-3)]),
    CYCLIC: Case(schedulers=_cyclic),
    "CyclicLR + LRTrace": Case(lambda: [LRTrace()], _cyclic),
    "HypergradientLR, each step measured": Case(lambda: [HypergradientLR(every=1)]),
    "HypergradientLR, settled": Case(lambda: [HypergradientLR(every=5)]),
    "WeightAveraging": Case(lambda: [WeightAveraging()]),
}
HEAVY = ("HypergradientLR, each step measured", "HypergradientLR, settled", "WeightAveraging")
HEAVY_CASES = (PLAIN, *HEAVY)
LIGHT_CASES = tuple(name for name in CASES if name not in HEAVY)
LARGE_CASES = (PLAIN, "CyclicalLR", *HEAVY)
# What is compared: a case, its rival, and what is taken off both.
RIVALS = (
    ("CyclicalLR", CYCLIC_MONITOR, PLAIN),
    ("OneCycleLR", ONE_CYCLE_MONITOR, PLAIN),
    ("WarmupStableDecayLR", CYCLIC_MONITOR, PLAIN),
    ("CyclicLR + LRTrace", CYCLIC_MONITOR, CYCLIC),
    ("HypergradientLR, each step measured", "WeightAveraging", PLAIN),
    ("HypergradientLR, settled", "WeightAveraging", PLAIN),
)


class _Clock(Callback):
    """Measures a run from a step on until its last one. It must be the last callback.

    What is done once at the end of a run is no part of a step. But points that have been collected for the loggers are.
    """

    def __init__(self, first_step: int) -> None:
        self.first_step, self.seconds = first_step, 0.0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if batch_idx == self.first_step:
            self.start = cpu_seconds()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for callback in vars(trainer)["callbacks"]:
            if isinstance(callback, TracesLR):
                callback.lr_tracer.flush()
        self.seconds = cpu_seconds() - self.start


def _seconds(case: Case, model: Model, log_every: int, steps: int) -> float:
    """Of ``steps`` steps of a model, after the first ones."""
    torch.manual_seed(0)
    first = min(_FIRST_STEPS, steps)
    batches: Any = [model.batch()] * (first + steps)  # a list is a dataset
    clock = _Clock(first)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            accelerator="cpu",
            max_epochs=1,
            callbacks=[*case.callbacks(), clock],
            logger=TensorBoardLogger(folder),
            log_every_n_steps=log_every,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(model.module(case.schedulers), DataLoader(batches, batch_size=None))
    return clock.seconds


class TimedSteps(NamedTuple):
    """Steps to be timed.

    Attributes:
        model: to train.
        log_every: interval of logging.
        rounds: how often each case trains, in each process.
        steps: of one training.
        names: of the cases.
    """

    model: Model
    log_every: int
    rounds: int
    steps: int
    names: Sequence[str] = tuple(CASES)


Times = dict[str, list[float]]


def ratios_of_steps(timed: TimedSteps) -> list[Ratio]:
    """Each case against the bare loop, and what it adds against what its rival adds."""
    return _ratios(timed, _times(timed))


def ratios_of_light_steps(settings: Sequence[TimedSteps]) -> Iterator[list[Ratio]]:
    """The same of the cases that add little. Their rounds are made in each of four new processes."""
    settings = [timed._replace(names=LIGHT_CASES) for timed in settings]
    parts: list[list[Times]] = []
    for part in range(PARTS):
        with ProcessPoolExecutor(1, get_context("spawn"), prepare_process) as process:
            parts.append(process.submit(_times_of_all, settings, part).result())
    for timed, of_parts in zip(settings, zip(*parts, strict=True), strict=True):
        times = {name: [seconds for part in of_parts for seconds in part[name]] for name in LIGHT_CASES}
        yield _ratios(timed, times)


def _times_of_all(settings: Sequence[TimedSteps], seed: int) -> list[Times]:
    return [_times(timed, seed) for timed in settings]


def _times(timed: TimedSteps, seed: int = 0) -> Times:
    runs = {name: partial(_seconds, CASES[name], timed.model, timed.log_every, timed.steps) for name in timed.names}
    return results_of(runs, timed.rounds, seed)


def _ratios(timed: TimedSteps, seconds: Times) -> list[Ratio]:
    times = {name: np.array(each) for name, each in seconds.items()}
    where = f"{timed.model.name}, logging every {timed.log_every}"
    found = [ratio_of_times("step", where, times, name, PLAIN) for name in timed.names if name != PLAIN]
    for what, against, base in RIVALS:
        if {what, against, base} <= set(timed.names):
            found.append(ratio_of_times("added", where, times, what, against, base))
    return found
