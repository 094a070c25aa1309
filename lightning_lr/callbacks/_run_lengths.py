"""How many optimizer steps an epoch and a run will have, as far as that can be known."""

from __future__ import annotations

import math

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler


def steps_per_epoch(trainer: Trainer) -> float:
    """Optimizer steps of an epoch, infinite if not known: data without a length, or accumulation that changes."""
    batches = trainer.num_training_batches
    changes = any(
        isinstance(callback, GradientAccumulationScheduler) and len(callback.scheduling) > 1
        for callback in vars(trainer)["callbacks"]
    )
    return math.inf if changes or math.isinf(batches) else math.ceil(batches / trainer.accumulate_grad_batches)


def steps_per_run(trainer: Trainer) -> float:
    """Optimizer steps of the run, infinite if not known.

    With only ``max_time`` it is not, nor with ``max_steps`` and several optimizers: that counts the steps of all.
    """
    if trainer.max_steps != -1 and len(trainer.optimizers) > 1:
        return math.inf
    try:
        steps = trainer.estimated_stepping_batches
    except MisconfigurationException:  # accumulation that changes
        return math.inf
    return steps if steps > 0 else math.inf
