"""The time that `CyclicalLR` adds to a training step, against torch's ``CyclicLR`` with ``LearningRateMonitor``.

    python -m benchmarks.cycle_cost

Three runs (plain, with the first, with the second) alternate in turns of 20 steps in one process, so that a change of
the machine's speed affects all three. The result is the mean time of a turn, which includes what is logged in blocks.
A turn of more than ten times the median counts as ten times the median: other work on the machine caused it.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Semaphore
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import TensorBoardLogger
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from lightning_lr import CyclicalLR

STEPS_PER_TURN = 20
LONGEST_TURN = 10  # medians; a longer turn counts as this
RUNS: dict[str, tuple[Callable[[], list[Callback]], bool]] = {  # callbacks, and whether torch's CyclicLR is used
    "plain": (list, False),
    "CyclicalLR with traces": (lambda: [CyclicalLR(0.001, 0.006, 100)], False),
    "CyclicLR + LearningRateMonitor": (lambda: [LearningRateMonitor("step")], True),
}


class Tiny(LightningModule):
    """A model so small that the loop and its callbacks take most of the time."""

    def __init__(self, uses_cyclic_lr: bool) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)
        self.uses_cyclic_lr = uses_cyclic_lr

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self.layer(batch[0]).pow(2).mean()  # type: ignore[no-any-return]

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), 0.001)
        if not self.uses_cyclic_lr:
            return optimizer
        cycle = torch.optim.lr_scheduler.CyclicLR(optimizer, 0.001, 0.006, 100, cycle_momentum=False)
        return [optimizer], [{"scheduler": cycle, "interval": "step"}]


class Turns(Callback):
    """Waits for its turn, trains for `STEPS_PER_TURN` steps, and gives the turn to the next run. Measures each turn."""

    def __init__(self, mine: Semaphore, next_one: Semaphore) -> None:
        self.mine, self.next_one = mine, next_one
        self.seconds: list[float] = []

    def on_train_epoch_start(self, *_: Any) -> None:
        self._wait_for_turn()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if batch_idx and batch_idx % STEPS_PER_TURN == 0:
            self._end_turn()
            self._wait_for_turn()

    def on_train_epoch_end(self, *_: Any) -> None:
        self._end_turn()

    def _wait_for_turn(self) -> None:
        if not self.mine.acquire(timeout=60):
            raise RuntimeError("another run has stopped")
        self.start = time.perf_counter()

    def _end_turn(self) -> None:
        self.seconds.append(time.perf_counter() - self.start)
        self.next_one.release()


def _train(callbacks: list[Callback], uses_cyclic_lr: bool, log_every: int, turns: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            accelerator="cpu",
            max_epochs=1,
            callbacks=callbacks,
            logger=TensorBoardLogger(folder),
            log_every_n_steps=log_every,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(Tiny(uses_cyclic_lr), DataLoader(TensorDataset(torch.randn(STEPS_PER_TURN * turns, 4)), 1))


def _seconds(log_every: int, turns: int) -> NDArray[np.float64]:
    """The seconds of each turn of each run, shape [runs, turns]. The first turn, a warm-up, is left out."""
    turn_semaphores = [Semaphore(0) for _ in RUNS]
    clocks = [
        Turns(turn_semaphores[i], turn_semaphores[(i + 1) % len(turn_semaphores)]) for i in range(len(turn_semaphores))
    ]
    with ThreadPoolExecutor(len(RUNS)) as pool:
        runs = [
            pool.submit(_train, [*callbacks(), clock], uses_cyclic_lr, log_every, turns + 1)
            for (callbacks, uses_cyclic_lr), clock in zip(RUNS.values(), clocks, strict=True)
        ]
        turn_semaphores[0].release()
        for run in runs:
            run.result()
    return np.array([clock.seconds[1:] for clock in clocks])


def _means(seconds: NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean seconds of a turn: plain, with `CyclicalLR`, and with torch's scheduler."""
    plain, ours, torchs = np.minimum(seconds, LONGEST_TURN * np.median(seconds)).mean(axis=1).tolist()
    return plain, ours, torchs


def _ratio(seconds: NDArray[np.float64]) -> float:
    """What `CyclicalLR` adds, divided by what torch's scheduler and the monitor add."""
    plain, ours, torchs = _means(seconds)
    return (ours - plain) / (torchs - plain)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=2000, help="turns of each run")
    turns = parser.parse_args().turns
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    for log_every in (1, 50):
        seconds = _seconds(log_every, turns)
        plain, ours, torchs = (1e6 * mean / STEPS_PER_TURN for mean in _means(seconds))
        ratios = [_ratio(quarter) for quarter in np.array_split(seconds, 4, axis=1)]
        print(f"log_every_n_steps={log_every}: a plain step takes {plain:.0f} us")
        print(f"  CyclicalLR with traces adds         {ours - plain:6.1f} us")
        print(f"  CyclicLR + LearningRateMonitor adds {torchs - plain:6.1f} us")
        print(f"  ratio {_ratio(seconds):.2f} (quarters of the run: {min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
