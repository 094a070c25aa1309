"""The finished steps of an optimizer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.optim import Optimizer


class StepCounter:
    """Counts the finished steps of one optimizer, in automatic and manual optimization.

    It rests on torch's own step hook, so micro-batches, the steps of other optimizers and steps that a
    ``GradScaler`` skipped are not counted. A fused optimizer is called even for a step that it then skips on the
    device; there ``found_inf`` is read, as the scaler itself does for all others.

    Args:
        optimizer: to be counted.
        then: called with the count after each finished step, before the training step goes on.
        count: steps that were finished before.
        first: whether to be told before all other hooks that are there, what reads or sets learning rates among them.
    """

    def __init__(
        self, optimizer: Optimizer, then: Callable[[int], None], count: int = 0, *, first: bool = False
    ) -> None:
        self.count = count
        self._then = then
        self._handle = optimizer.register_step_post_hook(self._finished)
        if first:
            hooks: OrderedDict[int, Any] = optimizer._optimizer_step_post_hooks  # type: ignore[assignment]
            hooks.move_to_end(self._handle.id, last=False)

    def remove(self) -> None:
        """Stop counting."""
        self._handle.remove()

    def _finished(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:  # noqa: ARG002
        found_inf: Tensor | None = vars(optimizer).get("found_inf")
        if found_inf is not None and bool(found_inf):
            return
        self.count += 1
        self._then(self.count)
