"""The loss of an optimizer step, from what Lightning gives for each of its micro-batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor


class StepLoss:
    """Collects the losses of micro-batches until their optimizer step; nothing is read from the device."""

    def __init__(self) -> None:
        self._losses: list[Tensor] = []

    def add(self, outputs: Any) -> None:
        """Take the outputs of ``on_train_batch_end``; a training step may have returned None or no loss."""
        if isinstance(outputs, Mapping) and isinstance(loss := outputs.get("loss"), Tensor):
            self._losses.append(loss.detach())

    def take(self, trainer: Trainer) -> Tensor | None:
        """The mean of what was collected, a scalar on the device, None if there was none; starts anew."""
        losses, self._losses = self._losses, []
        if not losses:
            return None
        # Lightning divides each loss by the micro-batches of a full window; the last window of an epoch may be shorter
        is_automatic = trainer.lightning_module.automatic_optimization
        divided_by = trainer.accumulate_grad_batches if is_automatic else 1
        if len(losses) == 1:
            # a copy, as Lightning makes in automatic optimization: a compiled model may write its next loss here
            mean = losses[0].to(torch.float32, copy=not is_automatic)
        else:
            mean = torch.stack(losses).float().mean()
        return mean if divided_by == 1 else mean * divided_by
