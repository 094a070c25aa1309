"""The number of optimizer steps of an epoch and of a run, as far as it is known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from lightning_lr.schedules.durations import Duration
from lightning_lr.trainer.lightning_packages import MisconfigurationException, either

_ACCUMULATION_SCHEDULERS = either("callbacks.GradientAccumulationScheduler")


class RunLengths(NamedTuple):
    """The lengths with which durations in epochs and in shares of the run are counted.

    Attributes:
        epoch_batches: training batches of an epoch; infinite if not known.
        epoch_steps: optimizer steps of an epoch. Infinite if not known: the data has no length, or the accumulation
            changes.
        run_steps: optimizer steps of the run, of each optimizer. Infinite if not known: with ``max_time`` alone, and
            with ``max_steps`` and several optimizers, since ``max_steps`` counts the steps of all of them together.
        extra_steps: optimizer steps by which the epochs before a resume were longer in all than as many of those after
            it; below 0 if they were shorter. 0 unless the run was resumed with epochs of another length.
    """

    epoch_batches: float
    epoch_steps: float
    run_steps: float
    extra_steps: int = 0

    def state(self) -> dict[str, Any]:
        """For a checkpoint: what `run_lengths` takes as ``saved``."""
        return {name: getattr(self, name) for name in ("epoch_batches", "epoch_steps", "extra_steps")}


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


def check_run_has_end(trainer: Trainer, durations: Mapping[str, Duration]) -> None:
    """Raise a ValueError if a duration is a share of a run that has no end in steps or epochs.

    To be called at the start of a fit: `run_lengths` knows more, but only after a range test in the same fit.

    Args:
        trainer: the Trainer.
        durations: by the names of their arguments.
    """
    if trainer.max_steps == -1 and trainer.max_epochs == -1:
        for name, duration in durations.items():
            if duration.unit == "run":
                duration.steps(name, math.inf, math.inf)


def run_lengths(trainer: Trainer, saved: Mapping[str, Any] | None = None) -> RunLengths:
    """The lengths of a run, the same on all ranks: where their data differ in length, those of the shortest.

    Args:
        trainer: a Trainer in ``fit``. If there are saved lengths, in ``on_train_start``.
        saved: in ``on_train_start``, `RunLengths.state` of a run that is resumed; empty for what begins here. Its
            batches count where loaders are reloaded while training, since the epoch of the resume may then have another
            length. Else epochs have their new length from here on, as with another number of devices.
    """
    known = saved or {}
    saved_batches, saved_steps = known.get("epoch_batches"), known.get("epoch_steps")
    fewest, most = batches_per_epoch(trainer)
    if saved_batches is not None and vars(trainer)["reload_dataloaders_every_n_epochs"]:
        fewest = most = saved_batches
    elif math.isinf(most):
        fewest = math.inf
    accumulate = _batches_per_step(trainer)
    is_known = math.isfinite(fewest) and math.isfinite(accumulate)
    if is_known and fewest != most:
        rank_zero_warn(
            f"The processes have {fewest:g} to {most:g} training batches. Lengths in epochs and shares of the run are"
            f" counted with {fewest:g} on all of them."
        )
    epoch_steps = math.ceil(fewest / accumulate) if is_known else math.inf
    extra_steps = known.get("extra_steps", 0)
    has_new_length = saved == {} or saved_steps not in (None, epoch_steps)  # earlier versions have not saved it
    if saved is not None and has_new_length and math.isfinite(epoch_steps):
        extra_steps = _extra_steps(trainer, int(epoch_steps))
    return RunLengths(fewest, epoch_steps, _run_steps(trainer, epoch_steps, extra_steps), extra_steps)


def steps_of_ended_epoch(trainer: Trainer) -> int | None:
    """Optimizer steps of the epoch that ends now, None if the run ends within the epoch.

    In manual optimization it is 0, since Lightning counts these steps elsewhere.
    """
    loop = trainer.fit_loop.epoch_loop
    if not loop.batch_progress.is_last_batch:
        return None
    # not the batches that were begun: on_train_batch_start may refuse one, which ends the epoch
    return int(loop.automatic_optimization.optim_progress.optimizer.step.current.completed)


def _batches_per_step(trainer: Trainer) -> float:
    """Batches that are accumulated for an optimizer step, infinite if that changes."""
    for callback in vars(trainer)["callbacks"]:
        if isinstance(callback, _ACCUMULATION_SCHEDULERS):
            if len(callback.scheduling) > 1:
                return math.inf
            return int(callback.scheduling[0])  # the Trainer gets it only when the first epoch starts
    if trainer.accumulate_grad_batches < 1:
        raise MisconfigurationException(
            f"Trainer(accumulate_grad_batches) must be at least 1, got {trainer.accumulate_grad_batches}."
        )
    return trainer.accumulate_grad_batches


def _extra_steps(trainer: Trainer, epoch_steps: int) -> int:
    """`RunLengths.extra_steps` if epochs have this length from now on, in ``on_train_start``."""
    batches, epochs = trainer.fit_loop.epoch_loop.batch_progress, trainer.fit_loop.epoch_progress.current
    is_within_epoch = not batches.is_last_batch
    steps_of_epoch = int(batches.current.ready // _batches_per_step(trainer)) if is_within_epoch else 0
    epochs_done = trainer.current_epoch if is_within_epoch else epochs.ready  # after its validation, one may not count
    return trainer.global_step // len(trainer.optimizers) - steps_of_epoch - epochs_done * epoch_steps


def _run_steps(trainer: Trainer, epoch_steps: float, extra_steps: int) -> float:
    if trainer.max_steps != -1 and len(trainer.optimizers) > 1:
        return math.inf
    by_epochs = math.inf if trainer.max_epochs in (None, -1) else trainer.max_epochs * epoch_steps + extra_steps
    return by_epochs if trainer.max_steps == -1 else min(by_epochs, trainer.max_steps)
