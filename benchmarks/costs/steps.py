"""The time that callbacks add to a training step, against a bare loop and against what users would take instead.

All cases train in one process, in turn, in short runs with a new model each, so that a change of the machine's speed
affects all of them. Many short runs show more than few long ones: the time of a step differs more from run to run than
within one. Times are those of the processor, which other work on the machine does not add to.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
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
from benchmarks.costs.ratio import Ratio, ratio_of_times
from benchmarks.timing import cpu_seconds, results_of
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
LIGHT_CASES = tuple(name for name in CASES if name not in HEAVY)  # which need more rounds
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


def ratios_of_steps(model: Model, log_every: int, rounds: int, steps: int, names: Any = CASES) -> list[Ratio]:
    """Each case against the bare loop, and what it adds against what its rival adds."""
    runs = {name: partial(_seconds, CASES[name], model, log_every, steps) for name in names}
    times = {name: np.array(seconds) for name, seconds in results_of(runs, rounds).items()}
    where = f"{model.name}, logging every {log_every}"
    found = [ratio_of_times("step", where, times, name, PLAIN) for name in names if name != PLAIN]
    for what, against, base in RIVALS:
        if {what, against, base} <= set(names):
            found.append(ratio_of_times("added", where, times, what, against, base))
    return found
