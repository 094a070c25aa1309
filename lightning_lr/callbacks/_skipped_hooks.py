"""Hooks that Lightning does not call while training, to save their time.

Lightning calls every hook of every callback at every batch, through its profiler, also if the hook does nothing. A
callback without a hook of its own adds 8 µs to a step by these calls. That is half of what Lightning's
``LearningRateMonitor`` adds (``python -m benchmarks.costs``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from lightning_lr.trainer.lightning_packages import Callback

_EMPTY: tuple[Callable[..., Any], ...] = (
    Callback.on_train_batch_start,
    Callback.on_before_zero_grad,
    Callback.on_before_backward,
    Callback.on_after_backward,
    Callback.on_before_optimizer_step,
    Callback.on_train_batch_end,
)


class SkippedHooks:
    """Hooks of a callback that are None while it trains. Lightning calls only what is callable.

    These are the hooks of every batch that the callback inherits from Lightning, where they do nothing.

    Args:
        callback: whose hooks are skipped.
    """

    def __init__(self, callback: Callback) -> None:
        self._callback = callback
        self._names: list[str] = []

    def skip(self, callbacks: Iterable[Callback], unneeded: Iterable[Callable[..., Any]] = ()) -> None:
        """Set the hooks to None until `restore`.

        Args:
            callbacks: those of the Trainer. If this one is not among them, another one holds it and calls its hooks. So
                none is skipped.
            unneeded: further methods that do nothing in this run. One that a subclass overrides is not skipped.
        """
        self.restore()  # an error of another callback may have kept the end of the last run from being told
        callback = self._callback
        if not any(each is callback for each in callbacks):
            return
        for hook in (*_EMPTY, *unneeded):
            name = hook.__name__
            if name not in vars(callback) and getattr(type(callback), name) is hook:
                setattr(callback, name, None)
                self._names.append(name)

    def restore(self) -> None:
        """Let Lightning call the hooks again."""
        hooks = vars(self._callback)
        for name in self._names:
            if hooks.get(name, ...) is None:  # else the user has set it meanwhile
                del hooks[name]
        self._names = []
