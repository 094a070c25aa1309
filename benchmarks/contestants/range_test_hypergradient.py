"""`LRRangeTest`, then `HypergradientLR` from the learning rate that it suggests, with its fall at the end."""

from __future__ import annotations

from benchmarks.workloads.run import Run
from lightning_lr import HypergradientLR, LRRangeTest

NAME = "LRRangeTest + HypergradientLR"


def train(run: Run) -> None:
    found = run.find(LRRangeTest()).result
    assert found is not None
    run.fit(found.lr, callbacks=[HypergradientLR()])
