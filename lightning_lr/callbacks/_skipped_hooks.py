"""Hooks that Lightning does not call while training, to save their time.

Lightning calls every hook of every callback at every batch, through its profiler, also if the hook does nothing. The
five calls that `ScheduledLR` skips take about 8 of the 20 µs that it would add to a step. Without skipping, its cost is
0.6 of the cost of torch's ``CyclicLR`` with ``LearningRateMonitor``; with skipping, 0.4 (median steps of
``python -m benchmarks.costs`` at ``log_every_n_steps=50``).
"""

from __future__ import annotations

from collections.abc import Iterable

from lightning_lr.trainer.lightning_packages import Callback

# Hooks of every batch that do nothing in the callbacks of this package that schedule.
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

    def skip(self, names: Iterable[str]) -> None:
        """Set these hooks to None until `restore`."""
        callback, base = self._callback, self._base
        for name in names:
            if name not in vars(callback) and getattr(type(callback), name) is getattr(base, name):
                setattr(callback, name, None)
                self._names.append(name)

    def restore(self) -> None:
        """Let Lightning call the hooks again."""
        hooks = vars(self._callback)
        for name in self._names:
            if hooks.get(name, ...) is None:  # else the user has set it meanwhile
                del hooks[name]
        self._names = []
