"""The loss of an optimizer step, from the losses of its micro-batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor


class StepLoss:
    """Collects the losses of micro-batches until their optimizer step. It never reads a value from the device."""

    def __init__(self) -> None:
        self._losses: list[Tensor] = []

    def add(self, outputs: Any) -> None:
        """Add the loss of a micro-batch.

        Args:
            outputs: as given to ``on_train_batch_end``. It may have no loss: a training step may return None. The mean
                of a loss is taken, which may have shape [1].
        """
        if isinstance(outputs, Mapping) and isinstance(loss := outputs.get("loss"), Tensor):
            loss = loss.detach()
            self._losses.append(loss if loss.ndim == 0 else loss.mean())

    def batch_without_step(self, trainer: Trainer) -> None:
        """Forget the losses if the step that they were for has been skipped, as a GradScaler does.

        To be called after `add` where no optimizer has stepped. In automatic optimization the accumulation tells a
        skipped step from a micro-batch before the step. In manual optimization nothing does, so the losses are kept.
        """
        if trainer.lightning_module.automatic_optimization and not trainer.fit_loop._should_accumulate():
            self._losses = []

    def pop_mean(self, trainer: Trainer) -> Tensor | None:
        """The mean of the collected losses, a scalar on the device, or None if there are none. Then starts again."""
        losses, self._losses = self._losses, []
        if not losses:
            return None
        # Lightning divides each loss by the length of a full accumulation window; the last one of an epoch may be
        # shorter. So we multiply by that length, and take the mean over the losses that there are.
        is_automatic = trainer.lightning_module.automatic_optimization
        divided_by = trainer.accumulate_grad_batches if is_automatic else 1
        if len(losses) == 1:
            # Copied in manual optimization, since a compiled model may write its next loss into the same tensor. In
            # automatic optimization Lightning has already made a copy.
            mean = losses[0].to(torch.float32, copy=not is_automatic)
        else:
            mean = torch.stack(losses).float().mean()
        return mean if divided_by == 1 else mean * divided_by
