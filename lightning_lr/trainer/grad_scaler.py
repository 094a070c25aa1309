"""The GradScaler of a Trainer, in mixed precision."""

from __future__ import annotations

from collections.abc import Callable

import torch
from lightning.pytorch import Trainer
from torch import Tensor
from torch.optim import Optimizer


def has_grad_scaler(trainer: Trainer) -> bool:
    """Whether gradients are scaled, and steps skipped whose gradients are not finite."""
    return getattr(trainer.precision_plugin, "scaler", None) is not None


def loss_scale(trainer: Trainer, optimizer: Optimizer) -> Callable[[], Tensor] | None:
    """A function that gives the factor of the gradients before a step; None if it is always 1.

    A GradScaler unscales the gradients before the step, but not those of a fused optimizer, which does it itself.
    """
    scaler = getattr(trainer.precision_plugin, "scaler", None)
    if scaler is None or not getattr(optimizer, "_step_supports_amp_scaling", False):
        return None
    return lambda: scaler.scale(torch.ones((), device=trainer.strategy.root_device))
