"""`LRSearch`, then one cycle with the peak that it suggests."""

from __future__ import annotations

from benchmarks.workloads.run import Run
from lightning_lr import LRSearch, OneCycleLR

NAME = "LRSearch + one cycle"


def train(run: Run) -> None:
    found = run.find(LRSearch()).result
    assert found is not None
    run.fit(found.lr, callbacks=[OneCycleLR(found.one_cycle_max_lr)])
