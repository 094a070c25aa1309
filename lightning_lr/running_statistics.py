"""What normalisation layers remember of the activations that they have seen."""

from __future__ import annotations

from torch import nn


def reset_statistics(module: nn.Module) -> None:
    """Begin the running statistics anew in every layer, such as BatchNorm, after training has diverged.

    One batch whose activations are not finite leaves them so for good, and one whose activations are huge for hundreds
    of steps. Good ones come back in some fifty steps.
    """
    for layer in module.modules():
        if getattr(layer, "track_running_stats", False) and hasattr(layer, "reset_running_stats"):
            layer.reset_running_stats()  # type: ignore[operator]
