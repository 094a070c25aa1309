"""Schedule-free AdamW with the learning rate of its package, and a warm-up."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer

from benchmarks.adaptation_contestants import ScheduleFreeModes
from benchmarks.suite.scheduled import WARM_UP_SHARE
from benchmarks.workloads.optimizers import WEIGHT_DECAY
from benchmarks.workloads.run import Run

NAME = "schedule-free AdamW"
PACKAGE = "schedulefree"
LR = 0.0025


def train(run: Run) -> None:
    from schedulefree import AdamWScheduleFree

    warmup_steps = round(WARM_UP_SHARE * run.budget)

    def optimizers(module: nn.Module, lr: float) -> list[Optimizer]:
        return [AdamWScheduleFree(module.parameters(), lr, weight_decay=WEIGHT_DECAY, warmup_steps=warmup_steps)]

    run.fit(LR, callbacks=[ScheduleFreeModes()], optimizers=optimizers)
