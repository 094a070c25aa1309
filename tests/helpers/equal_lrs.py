"""A check that all ranks of a distributed run use the same learning rates, at every step."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import Optimizer

from tests.helpers.lightning_classes import Callback, LightningModule, Trainer


class EqualLRs(Callback):
    """Compares the learning rates of the ranks before every optimizer step, those of a sweep or a search too."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.world_size > 1:
            for optimizer in trainer.optimizers:
                optimizer.register_step_pre_hook(_compare)


def _compare(optimizer: Optimizer, *_: Any) -> None:
    lrs = torch.tensor([float(group["lr"]) for group in optimizer.param_groups], dtype=torch.float64)
    extremes = torch.stack([lrs, -lrs])  # one reduction costs half of two
    torch.distributed.all_reduce(extremes, torch.distributed.ReduceOp.MAX)
    highest, lowest = extremes[0], -extremes[1]
    assert torch.equal(lowest, highest), f"the ranks use learning rates from {lowest.tolist()} to {highest.tolist()}"
