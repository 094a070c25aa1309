"""The number of optimizer steps of an epoch and of a run, as far as it is known."""

from __future__ import annotations

import math

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from lightning_lr.trainer.lightning_packages import MisconfigurationException, either

_ACCUMULATION_SCHEDULERS = either("callbacks.GradientAccumulationScheduler")


def batches_per_epoch(trainer: Trainer) -> tuple[float, float]:
    """Training batches of an epoch, on the rank that has the fewest and on the one that has the most.

    Infinite if the data has no length. The ranks communicate here, so all of them must call it at the same time.
    """
    batches = float(trainer.num_training_batches)
    if trainer.world_size == 1:
        return batches, batches
    both = torch.tensor([batches, -batches], dtype=torch.float64, device=trainer.strategy.root_device)
    reduced = trainer.strategy.reduce(both, reduce_op="min")
    assert isinstance(reduced, Tensor)
    fewest, most = reduced.tolist()
    return fewest, -most


def check_epochs_begin_together(owner: str, trainer: Trainer) -> None:
    """Raise a MisconfigurationException unless all ranks have as many batches, for what they do at later epochs."""
    fewest, most = batches_per_epoch(trainer)
    if fewest != most:
        raise MisconfigurationException(
            f"{owner} needs as many training batches on every process, so that their epochs begin together, got"
            f" {fewest:g} to {most:g}: set limit_train_batches={fewest:g}."
        )


def steps_per_epoch(trainer: Trainer) -> float:
    """Optimizer steps of an epoch, the same on all ranks: where their data differ in length, those of the shortest.

    Infinite if unknown: the data has no length, or the accumulation changes.
    """
    accumulate = trainer.accumulate_grad_batches
    for callback in vars(trainer)["callbacks"]:
        if isinstance(callback, _ACCUMULATION_SCHEDULERS):
            if len(callback.scheduling) > 1:
                return math.inf
            accumulate = callback.scheduling[0]  # the Trainer gets it only when the first epoch starts
    fewest, most = batches_per_epoch(trainer)
    if math.isinf(most):
        return math.inf
    if fewest != most:
        rank_zero_warn(
            f"The processes have {fewest:g} to {most:g} training batches. Lengths in epochs and shares of the run are"
            f" counted with {fewest:g} on all of them."
        )
    return math.ceil(fewest / accumulate)


def steps_per_run(trainer: Trainer) -> float:
    """Optimizer steps of the run, of each optimizer; the same on all ranks. Infinite if unknown.

    It is unknown with ``max_time`` alone, and with ``max_steps`` and several optimizers, since ``max_steps`` counts
    the steps of all optimizers together.
    """
    if trainer.max_steps != -1 and len(trainer.optimizers) > 1:
        return math.inf
    by_epochs = math.inf if trainer.max_epochs in (None, -1) else trainer.max_epochs * steps_per_epoch(trainer)
    return by_epochs if trainer.max_steps == -1 else min(by_epochs, trainer.max_steps)
