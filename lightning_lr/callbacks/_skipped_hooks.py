"""Hooks that Lightning does not call while training, to save their time.

Lightning calls every hook of every callback at every batch, through its profiler, also if the hook does nothing. The
five calls that `ScheduledLR` and `LRTrace` skip take some 10 of the 20 to 30 µs that they would add to a step
(``python -m benchmarks.costs``).
"""

from __future__ import annotations

from collections.abc import Iterable

from lightning_lr.trainer.lightning_packages import Callback

# Hooks of every batch that do nothing in the callbacks of this package that schedule or trace.
EMPTY_HOOKS = ("on_before_zero_grad", "on_before_backward", "on_after_backward", "on_before_optimizer_step")


class SkippedHooks:
    """Hooks of a callback that are None while it trains. Lightning calls only what is callable.

    Args:
        callback: whose hooks are skipped.
        base: a class of the callback. A hook that a subclass of it overrides is never skipped.
    """

    def __init__(self, callback: Callback, base: type[Callback]) -> None:
        self._callback = callback
        self._base = base
        self._names: list[str] = []

    def skip(self, names: Iterable[str], callbacks: Iterable[Callback]) -> None:
        """Set these hooks to None until `restore`.

        Args:
            names: of the hooks.
            callbacks: those of the Trainer. If the callback is not among them, another one calls its hooks, and none is
                skipped.
        """
        callback, base = self._callback, self._base
        if not any(each is callback for each in callbacks):
            return
        for name in names:
            if name not in vars(callback) and getattr(type(callback), name) is getattr(base, name):
                setattr(callback, name, None)
                self._names.append(name)

    def restore(self) -> None:
        """Let Lightning call the hooks again."""
        for name in self._names:
            vars(self._callback).pop(name, None)
        self._names = []
