"""The time that callbacks add to a training step, against a bare loop and against what users would take instead.

All cases train in one process and alternate in turns of some steps, so that a change of the machine's speed affects
all of them. A turn has as many steps as the longest interval of logging, so that each turn logs equally often. Times
are those of the processor, which other work on the machine does not add to.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from threading import Semaphore
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, WeightAveraging
from lightning.pytorch.loggers import TensorBoardLogger
from numpy.typing import NDArray
from torch.optim.lr_scheduler import CyclicLR
from torch.optim.lr_scheduler import OneCycleLR as TorchOneCycleLR
from torch.utils.data import DataLoader, IterableDataset

from benchmarks.costs.models import Classifier, Linears, Schedulers, Size, small_cnn
from benchmarks.costs.ratio import Ratio, ratio_of_times
from benchmarks.tasks import digits
from benchmarks.timing import cpu_seconds
from lightning_lr import CyclicalLR, HypergradientLR, LRTrace, OneCycleLR, WarmupStableDecayLR

PLAIN = "bare loop"
CYCLIC = "CyclicLR"
CYCLIC_MONITOR = "CyclicLR + LearningRateMonitor"
ONE_CYCLE_MONITOR = "torch's OneCycleLR + LearningRateMonitor"
CNN = "small CNN"
_FIRST_TURNS = 1  # not counted
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
LARGE_CASES = (
    PLAIN,
    "CyclicalLR",
    "HypergradientLR, each step measured",
    "HypergradientLR, settled",
    "WeightAveraging",
)
# What is compared: a case, its rival, and what is taken off both.
RIVALS = (
    ("CyclicalLR", CYCLIC_MONITOR, PLAIN),
    ("OneCycleLR", ONE_CYCLE_MONITOR, PLAIN),
    ("WarmupStableDecayLR", CYCLIC_MONITOR, PLAIN),
    ("CyclicLR + LRTrace", CYCLIC_MONITOR, CYCLIC),
    ("HypergradientLR, each step measured", "WeightAveraging", PLAIN),
    ("HypergradientLR, settled", "WeightAveraging", PLAIN),
)


class _Turns(Callback):
    """Waits for its turn, trains for some steps, and gives the turn to the next case. Measures each turn."""

    def __init__(self, steps: int, mine: Semaphore, next_one: Semaphore) -> None:
        self.steps, self.mine, self.next_one = steps, mine, next_one
        self.seconds: list[float] = []

    def on_train_epoch_start(self, *_: Any) -> None:
        self._wait_for_turn()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if batch_idx and batch_idx % self.steps == 0:
            self._end_turn()
            self._wait_for_turn()

    def on_train_epoch_end(self, *_: Any) -> None:
        self._end_turn()

    def _wait_for_turn(self) -> None:
        if not self.mine.acquire(timeout=300):
            raise RuntimeError("another case has stopped.")
        self.start = cpu_seconds()

    def _end_turn(self) -> None:
        self.seconds.append(cpu_seconds() - self.start)
        self.next_one.release()


class _Repeated(IterableDataset[Any]):
    """One batch, again and again, so that reading data takes no time."""

    def __init__(self, batch: Any, count: int) -> None:
        self.batch, self.count = batch, count

    def __iter__(self) -> Iterator[Any]:
        return repeat(self.batch, self.count)

    def __len__(self) -> int:
        return self.count


def _train(case: Case, size: Size | None, log_every: int, clock: _Turns, steps: int) -> None:
    """Train a case on a model of a size, or on a small CNN."""
    if size is None:
        module: LightningModule = Classifier(small_cnn(), case.schedulers)
        batches: Any = digits().batches(steps, seed=0)  # a list is a dataset
    else:
        module, batches = Linears(size, case.schedulers), _Repeated(size.batch(), steps)
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
        trainer.fit(module, DataLoader(batches, batch_size=None))


def seconds_of_turns(
    cases: dict[str, Case], size: Size | None, log_every: int, turns: int, steps: int
) -> dict[str, NDArray[np.float64]]:
    """The seconds of each turn of each case, shape [turns]."""
    semaphores = [Semaphore(0) for _ in cases]
    clocks = [_Turns(steps, mine, semaphores[(i + 1) % len(cases)]) for i, mine in enumerate(semaphores)]
    total = steps * (turns + _FIRST_TURNS)
    with ThreadPoolExecutor(len(cases)) as pool:
        runs = [
            pool.submit(_train, case, size, log_every, clock, total)
            for case, clock in zip(cases.values(), clocks, strict=True)
        ]
        semaphores[0].release()
        for run in runs:
            run.result()
    return {name: np.array(clock.seconds[_FIRST_TURNS:]) for name, clock in zip(cases, clocks, strict=True)}


def ratios_of_steps(size: Size | None, log_every: int, turns: int, steps: int, names: Any = CASES) -> list[Ratio]:
    """Each case against the bare loop, and what it adds against what its rival adds. Size None: a small CNN."""
    cases = {name: CASES[name] for name in names}
    times = seconds_of_turns(cases, size, log_every, turns, steps)
    where = f"{CNN if size is None else size.name}, logging every {log_every}"
    found = [ratio_of_times("step", where, times, name, PLAIN) for name in cases if name != PLAIN]
    for what, against, base in RIVALS:
        if {what, against, base} <= set(cases):
            found.append(ratio_of_times("added", where, times, what, against, base))
    return found
