"""NadamW at one learning rate for all workloads, with warm-up and cosine, as the baseline of AlgoPerf."""

from __future__ import annotations

from benchmarks.workloads.run import Run

NAME = "NadamW at 0.001"
LR = 1e-3


def train(run: Run) -> None:
    run.fit(LR, "warm-up and cosine")
