"""Mechanic around NadamW, under a warm-up and a cosine."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer

from benchmarks.suite.wrapped_optimizers import Mechanic
from benchmarks.workloads.run import Run

NAME = "Mechanic"


def train(run: Run) -> None:
    def optimizers(module: nn.Module, lr: float) -> list[Optimizer]:
        return [Mechanic(each) for each in run.setting.optimizers(module, lr)]

    run.fit(1.0, "warm-up and cosine", optimizers=optimizers)
