"""`ReplacedSchedulers`: schedulers of torch that do not step in a fit, because a callback drives their optimizers."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch.optim import Optimizer

from lightning_lr.trainer.lightning_packages import MisconfigurationException

# The frequency of a replaced scheduler, in batches or epochs. No run is that long, so Lightning never steps it.
_NEVER = sys.maxsize


class ReplacedSchedulers:
    """The schedulers that a callback replaces in one fit.

    They stay in the Trainer. So checkpoints hold the same states with and without this callback, and monitors find
    their optimizers.

    Args:
        replace_scheduler: argument of the callback. If it is False, nothing is replaced.
    """

    def __init__(self, replace_scheduler: bool) -> None:
        self._replace_scheduler = replace_scheduler
        self._replaced: list[tuple[Any, Any]] = []  # idle configuration, and the one in whose place it stands

    def replace(self, owner: str, optimizers: Sequence[Optimizer], trainer: Trainer) -> None:
        """Keep the schedulers of these optimizers from stepping, until `restore`.

        Raises:
            MisconfigurationException: in manual optimization, if there is such a scheduler.
        """
        configs = trainer.strategy.lr_scheduler_configs
        names = [type(config.scheduler).__name__ for config in configs if sets_lr_of(config.scheduler, optimizers)]
        if not self._replace_scheduler or not names:
            return
        if not trainer.lightning_module.automatic_optimization:
            raise MisconfigurationException(
                f"{owner}(replace_scheduler=True) cannot replace {names[0]} in manual optimization, where training_step"
                f" steps it: leave one of them out."
            )
        new = []
        for config in configs:
            if sets_lr_of(config.scheduler, optimizers):
                self._replaced.append((dataclasses.replace(config, frequency=_NEVER), config))
                new.append(self._replaced[-1][0])
            else:
                new.append(config)
        trainer.strategy.lr_scheduler_configs = new
        rank_zero_info(f"{owner} replaces {', '.join(names)}, which will not step in this fit.")

    def restore(self, trainer: Trainer) -> None:
        """Let the schedulers step again."""
        original = {id(idle): config for idle, config in self._replaced}
        configs = trainer.strategy.lr_scheduler_configs
        trainer.strategy.lr_scheduler_configs = [original.get(id(config), config) for config in configs]
        self._replaced = []


def is_replaced(config: Any) -> bool:
    """Whether a callback has replaced the scheduler of this configuration."""
    return bool(config.frequency == _NEVER)


def sets_lr_of(scheduler: object, optimizers: Sequence[Optimizer]) -> bool:
    """Whether a scheduler sets the learning rate of one of these optimizers."""
    # A scheduler without this attribute may drive any optimizer.
    return any(getattr(scheduler, "optimizer", optimizer) is optimizer for optimizer in optimizers)
