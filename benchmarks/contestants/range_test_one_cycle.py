"""`LRRangeTest`, then one cycle with the peak that it suggests."""

from __future__ import annotations

from benchmarks.workloads.run import Run
from lightning_lr import LRRangeTest, OneCycleLR

NAME = "LRRangeTest + one cycle"


def train(run: Run) -> None:
    found = run.find(LRRangeTest()).result
    assert found is not None
    run.fit(found.lr, callbacks=[OneCycleLR(found.one_cycle_max_lr)])
