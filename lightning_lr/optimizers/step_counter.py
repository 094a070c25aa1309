"""Counts the finished steps of an optimizer."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable
from functools import cache
from types import FrameType
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

# What an optimizer does that has no such hooks, for messages: its name goes before it.
HAS_NO_HOOKS = (
    "has no step hooks, since its class does not call Optimizer.__init__: call super().__init__ there, or return the"
    " optimizer inside it from configure_optimizers"
)


def has_step_hooks(optimizer: Optimizer) -> bool:
    """Whether hooks can be registered on the steps of an optimizer. Some wrappers lack what torch's own class sets."""
    return hasattr(optimizer, "_optimizer_step_post_hooks")


class StepCounter:
    """Counts the finished steps of one optimizer, in automatic and in manual optimization.

    It uses torch's step hook, so it counts neither micro-batches, nor steps of other optimizers, nor steps that a
    ``GradScaler`` skips. A fused optimizer is called even for a step that it then skips on the device. For it,
    ``found_inf`` is read, as the scaler does for all other optimizers. A step that calls ``super().step()`` is one.

    Args:
        optimizer: whose steps are counted.
        on_step: called with the count after each finished step, before the training step goes on.
        count: steps that were finished before.
        run_first: whether to run before the step hooks that are already registered, such as those that read or set
            learning rates.

    Attributes:
        count: finished steps.
    """

    def __init__(
        self, optimizer: Optimizer, on_step: Callable[[int], None], count: int = 0, *, run_first: bool = False
    ) -> None:
        self.count = count
        self._on_step = on_step
        self._handle = optimizer.register_step_post_hook(self._count_step)
        if run_first:
            hooks: OrderedDict[int, Any] = optimizer._optimizer_step_post_hooks  # type: ignore[assignment]
            hooks.move_to_end(self._handle.id, last=False)

    def remove(self) -> None:
        """Stop counting."""
        self._handle.remove()

    def _count_step(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:  # noqa: ARG002
        found_inf: Tensor | None = vars(optimizer).get("found_inf")
        if found_inf is not None and bool(found_inf):
            return
        bases = _bases_with_step(type(optimizer))  # type: ignore[arg-type]  # mypy takes the hash of an instance
        if bases and _is_inner_step(optimizer, bases, sys._getframe(1)):
            return
        self.count += 1
        self._on_step(self.count)


@cache
def _bases_with_step(optimizer_class: Any) -> list[Any]:
    """The bases whose ``step`` an optimizer's own step may call. Each has or inherits one.

    torch gives a class that inherits its step a wrapped one when the first of its optimizers is made.
    """
    return [base for base in optimizer_class.__mro__[1:] if base is not Optimizer and hasattr(base, "step")]


def _is_inner_step(optimizer: Optimizer, bases: list[Any], wrapper: FrameType) -> bool:
    """Whether a step was called by another step of the same optimizer.

    torch wraps ``step`` of each class that has been used, and its wrapper calls the hooks. So ``super().step()`` in a
    subclass calls them too once the base class has been used. The stack shows it: a count of the steps that have begun
    would be wrong after an error in one of them.

    Args:
        optimizer: whose hook is called.
        bases: see `_bases_with_step`.
        wrapper: the frame of torch's wrapper that calls it.
    """
    if not any(hasattr(vars(base).get("step"), "hooked") for base in bases):
        return False  # there is no other wrapper
    outer = wrapper.f_back
    while outer is not None and not (outer.f_code is wrapper.f_code and outer.f_locals["self"] is optimizer):
        outer = outer.f_back
    return outer is not None
