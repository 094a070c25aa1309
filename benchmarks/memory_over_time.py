"""Whether memory grows while training: the resident memory of a long run with each callback, and without.

    python -m benchmarks.memory_over_time
    python -m benchmarks.memory_over_time --steps 10000 --runs none CyclicalLR

Each run is a process of its own, which trains a linear layer on the CPU with TensorBoard, in epochs of 1000 optimizer
steps. Growth is counted from a tenth of the steps on, when allocators and caches are filled. Linux only.
"""

from __future__ import annotations

import argparse
import gc
import logging
import multiprocessing
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks.argument_types import positive_count
from lightning_lr import (
    CyclicalLR,
    HypergradientLR,
    LRRangeTest,
    LRSearch,
    LRTrace,
    OneCycleLR,
    WarmupStableDecayLR,
)

EPOCH_STEPS = 1000
RUNS: dict[str, Callable[[], list[Callback]]] = {
    "none": list,
    "LRTrace": lambda: [LRTrace()],
    "LRRangeTest": lambda: [LRRangeTest()],
    "LRRangeTest, a sweep every 10 epochs": lambda: [LRRangeTest(verify=False, at_epochs=range(0, 1000, 10))],
    "LRSearch": lambda: [LRSearch()],
    "CyclicalLR, cycles of 100 steps": lambda: [CyclicalLR(0.001, 0.01, 50, log_position=True)],
    "OneCycleLR": lambda: [OneCycleLR(0.01)],
    "WarmupStableDecayLR": lambda: [WarmupStableDecayLR(0.01)],
    "HypergradientLR": lambda: [HypergradientLR()],
    "HypergradientLR, multiplicative": lambda: [HypergradientLR("multiplicative")],
    "HypergradientLR, adapt=False": lambda: [HypergradientLR(adapt=False)],
    "LRRangeTest, CyclicalLR, HypergradientLR": lambda: [LRRangeTest(), CyclicalLR(step_size=50), HypergradientLR()],
}


class Linear(LightningModule):
    """A regression with noise."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        return torch.nn.functional.mse_loss(self.layer(x), y)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.01, 0.9)


class ResidentMemory(Callback):
    """The resident memory at a tenth of the steps and at the end, in kB."""

    def __init__(self, steps: int) -> None:
        self.at = (steps // 10, steps)
        self.sizes: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step in self.at:
            gc.collect()
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self.sizes.append(pages * os.sysconf("SC_PAGE_SIZE") / 1000)


def measure(name: str, steps: int) -> tuple[float, float]:
    """The resident memory at the end, and its growth, both in kB."""
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    seed_everything(0, verbose=False)
    x = torch.randn(EPOCH_STEPS, 4, 4)
    batches: Any = list(zip(x, x.sum(2, keepdim=True) + torch.randn(EPOCH_STEPS, 4, 1), strict=True))
    memory = ResidentMemory(steps)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            accelerator="cpu",
            devices=1,
            max_steps=steps,
            callbacks=[*RUNS[name](), memory],
            logger=TensorBoardLogger(folder),
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(Linear(), DataLoader(batches, batch_size=None))
    first, last = memory.sizes
    return last, last - first


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=positive_count, default=100_000, help="optimizer steps of each run")
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=list(RUNS), help="callbacks")
    given = parser.parse_args()
    print(f"{given.steps} optimizer steps; growth since step {given.steps // 10}\n")
    print(f"{'callbacks':42} {'memory, MB':>10} {'growth, kB':>10} {'bytes a step':>12}", flush=True)
    for name in given.runs:
        with multiprocessing.get_context("spawn").Pool(1) as pool:  # a new process, with nothing of the run before
            size, growth = pool.apply(measure, (name, given.steps))
        print(f"{name:42} {size / 1000:10.1f} {growth:10.0f} {1000 * growth / (0.9 * given.steps):12.1f}", flush=True)


if __name__ == "__main__":
    main()
