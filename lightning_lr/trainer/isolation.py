"""Keeps from a rehearsal what must not see or influence it, and gives the Trainer back as it was."""

from __future__ import annotations

import dataclasses
from typing import Any

from lightning.pytorch import Trainer

from lightning_lr.trainer.lightning_packages import Callback, either, from_package_of
from lightning_lr.trainer.muted_loggers import muted_loggers

_ACCUMULATION_SCHEDULERS = either("callbacks.GradientAccumulationScheduler")


class Isolation:
    """The attributes of a Trainer, which are replaced and restored any number of times.

    Args:
        trainer: a Trainer in ``fit``.

    Attributes:
        scheduler_configs: the Trainer's own.
    """

    def __init__(self, trainer: Trainer) -> None:
        assert trainer.state.stage is not None
        self._trainer = trainer
        self._attributes = dict(vars(trainer))
        self._stage = trainer.state.stage
        self.scheduler_configs = trainer.strategy.lr_scheduler_configs

    def begin(self) -> None:
        """Remove loggers, the profiler, steps of schedulers, and our own hooks of optimizers."""
        trainer: Any = self._trainer
        trainer.should_stop = False
        trainer.loggers = muted_loggers(trainer)
        trainer.profiler = from_package_of(trainer, "profilers.PassThroughProfiler")()
        if trainer.lightning_module.automatic_optimization:
            # A training step may read the schedulers, so they stay, but Lightning never steps them. In manual
            # optimization the training step steps them itself, and the snapshot restores them.
            trainer.strategy.lr_scheduler_configs = [
                dataclasses.replace(config, interval="never") for config in self.scheduler_configs
            ]
        for optimizer in trainer.optimizers:  # the snapshot restores the hooks
            for hooks in (optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks):
                for handle, hook in list(hooks.items()):
                    if getattr(hook, "__module__", "").startswith("lightning_lr."):  # belongs to a removed callback
                        del hooks[handle]

    def call_only(self, callback: Callback) -> None:
        """Remove all metrics that were logged, and all callbacks but one and those that decide what a step is."""
        trainer: Any = self._trainer
        trainer._logger_connector = type(trainer._logger_connector)(trainer)
        schedulers = [c for c in self._attributes["callbacks"] if isinstance(c, _ACCUMULATION_SCHEDULERS)]
        trainer.callbacks = [*schedulers, callback]

    def end(self) -> None:
        """Restore the attributes."""
        vars(self._trainer).clear()
        vars(self._trainer).update(self._attributes)
        self._trainer.strategy.lr_scheduler_configs = self.scheduler_configs
        self._trainer.state.stage = self._stage
