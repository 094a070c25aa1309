"""What cycles with traces add to a training step, against torch's ``CyclicLR`` with ``LearningRateMonitor``.

python -m benchmarks.cycle_cost
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
import warnings
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from lightning_lr import CyclicalLR

STEPS = 2000


class Tiny(LightningModule):
    """So small that what is measured is the loop and its callbacks."""

    def __init__(self, torchs_cycle: bool) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)
        self.torchs_cycle = torchs_cycle

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self.layer(batch[0]).pow(2).mean()  # type: ignore[no-any-return]

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), 0.001)
        if not self.torchs_cycle:
            return optimizer
        cycle = torch.optim.lr_scheduler.CyclicLR(optimizer, 0.001, 0.006, 100, cycle_momentum=False)
        return [optimizer], [{"scheduler": cycle, "interval": "step"}]


def _microseconds_per_step(callbacks: list[Callback], torchs_cycle: bool, log_every: int) -> float:
    """Of the fit loop alone, without set-up."""

    class Clock(Callback):
        def on_train_epoch_start(self, *_: Any) -> None:
            self.start = time.perf_counter()

        def on_train_epoch_end(self, *_: Any) -> None:
            self.seconds = time.perf_counter() - self.start

    torch.manual_seed(0)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            accelerator="cpu",
            max_epochs=1,
            callbacks=[*callbacks, clock],
            logger=TensorBoardLogger(folder),
            log_every_n_steps=log_every,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(Tiny(torchs_cycle), DataLoader(TensorDataset(torch.randn(STEPS, 4)), 1))
    return 1e6 * clock.seconds / STEPS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    for log_every in (1, 50):
        plain, ours, theirs = [], [], []
        for _ in range(repeats + 1):
            plain.append(_microseconds_per_step([], False, log_every))
            ours.append(_microseconds_per_step([CyclicalLR(0.001, 0.006, 100)], False, log_every))
            theirs.append(_microseconds_per_step([LearningRateMonitor("step")], True, log_every))
        base = statistics.median(plain[1:])
        added = [statistics.median(times[1:]) - base for times in (ours, theirs)]
        shares = sorted(
            (mine - p) / (other - p) for mine, other, p in zip(ours[1:], theirs[1:], plain[1:], strict=True)
        )
        print(f"log_every_n_steps={log_every}: a plain step takes {base:.0f} us")
        print(f"  CyclicalLR with traces adds         {added[0]:6.1f} us")
        print(f"  CyclicLR + LearningRateMonitor adds {added[1]:6.1f} us")
        print(f"  ratio {added[0] / added[1]:.2f} (rounds: {shares[0]:.2f} to {shares[-1]:.2f})")


if __name__ == "__main__":
    main()
