"""D-Adaptation of Adam, under a warm-up and a cosine."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer

from benchmarks.workloads.optimizers import WEIGHT_DECAY
from benchmarks.workloads.run import Run

NAME = "D-Adaptation"
PACKAGE = "dadaptation"


def train(run: Run) -> None:
    from dadaptation import DAdaptAdam

    def optimizers(module: nn.Module, lr: float) -> list[Optimizer]:
        return [DAdaptAdam(module.parameters(), lr, weight_decay=WEIGHT_DECAY, decouple=True)]

    run.fit(1.0, "warm-up and cosine", optimizers=optimizers)
