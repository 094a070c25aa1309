"""What normalisation layers remember of the activations that they have seen."""

from __future__ import annotations

from torch import nn


def reset_lost_statistics(module: nn.Module) -> None:
    """Begin the running statistics anew in every layer, such as BatchNorm, where they are not finite.

    One bad batch is enough for that, and nothing brings them back: the mean of a value that is not finite and of all
    that follow stays not finite.
    """
    for layer in module.modules():
        if hasattr(layer, "reset_running_stats") and any(
            not buffer.isfinite().all() for buffer in layer.buffers(False)
        ):
            layer.reset_running_stats()  # type: ignore[operator]
