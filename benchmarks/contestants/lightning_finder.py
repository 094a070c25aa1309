"""Lightning's ``LearningRateFinder``, then one cycle with the peak that it suggests. Without one: its start, 1e-3."""

from __future__ import annotations

from lightning.pytorch.callbacks import LearningRateFinder

from benchmarks.contestants.nadamw import LR
from benchmarks.workloads.run import Run
from lightning_lr import OneCycleLR

NAME = "Lightning's LearningRateFinder + one cycle"


def train(run: Run) -> None:
    found = run.find(LearningRateFinder()).optimal_lr
    lr = None if found is None else found.suggestion()
    lr = LR if lr is None else lr
    run.fit(lr, callbacks=[OneCycleLR(lr)])
