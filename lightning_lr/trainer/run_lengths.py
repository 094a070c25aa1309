"""The number of optimizer steps of an epoch and of a run, as far as it is known."""

from __future__ import annotations

import math

from lightning.pytorch import Trainer

from lightning_lr.trainer.lightning_packages import either

_ACCUMULATION_SCHEDULERS = either("callbacks.GradientAccumulationScheduler")


def steps_per_epoch(trainer: Trainer) -> float:
    """Optimizer steps of an epoch. Infinite if unknown: the data has no length, or the accumulation changes."""
    accumulate = trainer.accumulate_grad_batches
    for callback in vars(trainer)["callbacks"]:
        if isinstance(callback, _ACCUMULATION_SCHEDULERS):
            if len(callback.scheduling) > 1:
                return math.inf
            accumulate = callback.scheduling[0]  # the Trainer gets it only when the first epoch starts
    batches = trainer.num_training_batches
    return math.inf if math.isinf(batches) else math.ceil(batches / accumulate)


def steps_per_run(trainer: Trainer) -> float:
    """Optimizer steps of the run, of each optimizer. Infinite if unknown.

    It is unknown with ``max_time`` alone, and with ``max_steps`` and several optimizers, since ``max_steps`` counts
    the steps of all optimizers together.
    """
    if trainer.max_steps != -1 and len(trainer.optimizers) > 1:
        return math.inf
    by_epochs = math.inf if trainer.max_epochs in (None, -1) else trainer.max_epochs * steps_per_epoch(trainer)
    return by_epochs if trainer.max_steps == -1 else min(by_epochs, trainer.max_steps)
