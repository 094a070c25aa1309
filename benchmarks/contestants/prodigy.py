"""Prodigy with the safeguards that its authors recommend for a warm-up, under a warm-up and a cosine."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer

from benchmarks.workloads.optimizers import WEIGHT_DECAY
from benchmarks.workloads.run import Run

NAME = "Prodigy"
PACKAGE = "prodigyopt"


def train(run: Run) -> None:
    from prodigyopt import Prodigy

    def optimizers(module: nn.Module, lr: float) -> list[Optimizer]:
        arguments = {"safeguard_warmup": True, "use_bias_correction": True, "weight_decay": WEIGHT_DECAY}
        return [Prodigy(module.parameters(), lr, **arguments)]

    run.fit(1.0, "warm-up and cosine", optimizers=optimizers)
