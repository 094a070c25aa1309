"""`HypergradientLR` alone, with its fall at the end. It begins at the learning rate of the NadamW contestant."""

from __future__ import annotations

from benchmarks.contestants.nadamw import LR
from benchmarks.workloads.run import Run
from lightning_lr import HypergradientLR

NAME = "HypergradientLR"


def train(run: Run) -> None:
    run.fit(LR, callbacks=[HypergradientLR()])
