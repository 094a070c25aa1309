"""MetaOptimize around NadamW, from the learning rate of the NadamW contestant."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer

from benchmarks.contestants.nadamw import LR
from benchmarks.suite.wrapped_optimizers import MetaOptimize
from benchmarks.workloads.run import Run

NAME = "MetaOptimize"


def train(run: Run) -> None:
    def optimizers(module: nn.Module, lr: float) -> list[Optimizer]:
        return [MetaOptimize(each) for each in run.setting.optimizers(module, lr)]

    run.fit(LR, optimizers=optimizers)
