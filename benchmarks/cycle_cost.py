"""What cycles with traces add to a training step, against torch's ``CyclicLR`` with ``LearningRateMonitor``.

python -m benchmarks.cycle_cost
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from lightning_lr import CyclicalLR

STEPS = 5000  # some seconds, so that what is logged in blocks is counted


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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", type=int, default=4, help="of three rounds each")
    groups = parser.parse_args().groups
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    for log_every in (1, 50):
        _microseconds_per_step([], False, log_every)  # to warm up
        rounds = [
            (
                _microseconds_per_step([], False, log_every),
                _microseconds_per_step([CyclicalLR(0.001, 0.006, 100)], False, log_every),
                _microseconds_per_step([LearningRateMonitor("step")], True, log_every),
            )
            for _ in range(3 * groups)
        ]
        plain, ours, theirs = _best(rounds)
        ratios = sorted(_ratio(rounds[3 * i : 3 * i + 3]) for i in range(groups))
        print(f"log_every_n_steps={log_every}: a plain step takes {plain:.0f} us")
        print(f"  CyclicalLR with traces adds         {ours - plain:6.1f} us")
        print(f"  CyclicLR + LearningRateMonitor adds {theirs - plain:6.1f} us")
        print(f"  ratio {_ratio(rounds):.2f} (groups of three rounds: {ratios[0]:.2f} to {ratios[-1]:.2f})")


def _best(rounds: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """The least time of each: what else runs on the machine can only add to it."""
    return tuple(map(min, zip(*rounds, strict=True)))


def _ratio(rounds: Sequence[Sequence[float]]) -> float:
    plain, ours, theirs = _best(rounds)
    return (ours - plain) / (theirs - plain)


if __name__ == "__main__":
    main()
