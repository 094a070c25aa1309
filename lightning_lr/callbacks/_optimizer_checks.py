"""Checks in ``fit``: of the optimizers that a schedule drives, and of what else would drive them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch.optim import Optimizer

from lightning_lr.callbacks._replaced_schedulers import is_replaced, sets_lr_of
from lightning_lr.callbacks._schedule_run import ScheduleRun
from lightning_lr.optimizers.param_groups import lr_ratios, optimizer_names
from lightning_lr.optimizers.step_counter import HAS_NO_HOOKS, has_step_hooks
from lightning_lr.trainer.lightning_packages import MisconfigurationException, either
from lightning_lr.trainer.run_lengths import steps_of_ended_epoch

_WEIGHT_AVERAGING = either("callbacks.StochasticWeightAveraging")


@runtime_checkable
class DrivesOptimizers(Protocol):
    """A callback that sets the learning rates of optimizers."""

    def drives_optimizer(self, index: int) -> bool:
        """Whether it sets the learning rate of the optimizer at this position in ``configure_optimizers``."""


def check_optimizer_index(owner: str, index: int | None, trainer: Trainer) -> None:
    """Raise a MisconfigurationException unless there is an optimizer at this position."""
    count = len(trainer.optimizers)
    if index is not None and index >= count:
        raise MisconfigurationException(
            f"{owner}(optimizer={index}) must name one of the {count} optimizers, by its position from 0."
        )


def check_step_hooks(owner: str, optimizers: Iterable[Optimizer]) -> None:
    """Raise a MisconfigurationException unless the steps of all these optimizers can be followed."""
    for optimizer in optimizers:
        if not has_step_hooks(optimizer):
            raise MisconfigurationException(
                f"{owner} cannot follow the steps of {type(optimizer).__name__}, which {HAS_NO_HOOKS}."
            )


def check_lrs_can_be_set(owner: str, optimizers: Sequence[Optimizer]) -> None:
    """Raise an error unless each group of these optimizers has a learning rate, which can be set at each step.

    Raises:
        MisconfigurationException: if a group has none, or steps cannot be followed.
        ValueError: if no group has one above 0.
    """
    check_step_hooks(owner, optimizers)
    for optimizer in optimizers:
        if not all("lr" in group for group in optimizer.param_groups):
            raise MisconfigurationException(
                f"{owner} sets the learning rate of every parameter group, but {type(optimizer).__name__} has a group"
                f" without one: give the group an lr, or leave {owner} out."
            )
    lr_ratios(optimizers)


def check_sole_driver(callback: DrivesOptimizers, trainer: Trainer) -> None:
    """Raise a MisconfigurationException if a scheduler or another callback would set the same learning rates."""
    name, indices = type(callback).__name__, [i for i in range(len(trainer.optimizers)) if callback.drives_optimizer(i)]
    replacement = ""
    if trainer.lightning_module.automatic_optimization:
        replacement = f", or give {name}(replace_scheduler=True)"
    others = [(scheduler, replacement) for scheduler in _schedulers(trainer, indices)]
    others += [(other, _way_out(other)) for other in _other_callbacks(callback, trainer, indices)]
    for other, way_out in others:
        raise MisconfigurationException(
            f"{name} and {type(other).__name__} would both set the learning rate: leave one of them out{way_out}."
        )


def check_hyperparameter(owner: str, key: str, limits: tuple[float, float] | None, optimizers: list[Optimizer]) -> None:
    """Raise a MisconfigurationException if limits are given for a hyperparameter that an optimizer does not have.

    Args:
        owner: name of the callback.
        key: ``"momentum"`` or ``"weight_decay"``.
        limits: argument of the callback.
        optimizers: that the callback drives.
    """
    if limits is None:
        return
    keys = {"momentum", "betas"} if key == "momentum" else {key}
    for optimizer in optimizers:
        if not all(keys & group.keys() for group in optimizer.param_groups):
            raise MisconfigurationException(
                f"{owner}({key}={tuple(limits)}) needs an optimizer that has {key.replace('_', ' ')}, which"
                f" {type(optimizer).__name__} has not: leave {key} out."
            )


def report_new_lengths(owner: str, run: ScheduleRun) -> None:
    """Say that a run goes on with other lengths. Warn if its schedule was over, so that there is nothing to go on with.

    Args:
        owner: name of the callback.
        run: of the callback.
    """
    if run.is_over:
        rank_zero_warn(
            f"{owner} had reached its end before this fit, which therefore trains with its last learning rate: for"
            f" another cycle use a new Trainer and a new {owner}."
        )
    else:
        rank_zero_info(f"{owner} goes on from its phase with the new lengths.")


def check_steps_of_epoch(owner: str, expected: float, counts: Mapping[Optimizer, int], trainer: Trainer) -> bool:
    """Whether an epoch that has ended had as many steps as lengths in epochs are counted with. If not, warn.

    Args:
        owner: name of the callback.
        expected: steps of an epoch, infinite if not known.
        counts: the steps that each optimizer has made in the run.
        trainer: the Trainer, in ``on_train_epoch_end``.
    """
    steps = steps_of_ended_epoch(trainer)
    if not math.isfinite(expected) or steps is None:
        return True
    if trainer.lightning_module.automatic_optimization:
        if steps != expected:
            rank_zero_warn(
                f"{owner} counts every epoch as {expected:g} steps, the length that it started with, but epoch"
                f" {trainer.current_epoch} had {steps}: give lengths in steps, and the run max_steps."
            )
        return steps == expected
    others = {each: count for each, count in counts.items() if trainer.current_epoch == 0 and count != expected}
    for optimizer, count in others.items():
        rank_zero_warn(
            f"{owner} took an epoch for {expected:g} steps of {type(optimizer).__name__}, one a batch, but it made"
            f" {count}: give lengths in steps."
        )
    return not others


def _way_out(other: object) -> str:
    is_averaging = isinstance(other, _WEIGHT_AVERAGING)
    return ", or average weights with Lightning's WeightAveraging, which sets none" if is_averaging else ""


def _schedulers(trainer: Trainer, indices: list[int]) -> Iterable[object]:
    driven = [trainer.optimizers[i] for i in indices]
    for config in trainer.lr_scheduler_configs:
        if sets_lr_of(config.scheduler, driven) and not is_replaced(config):
            yield config.scheduler


def _other_callbacks(callback: DrivesOptimizers, trainer: Trainer, indices: list[int]) -> Iterable[object]:
    for other in vars(trainer)["callbacks"]:
        drives_same = isinstance(other, DrivesOptimizers) and any(other.drives_optimizer(i) for i in indices)
        if isinstance(other, _WEIGHT_AVERAGING) or (drives_same and other is not callback):
            yield other


def warn_if_self_adapting(owner: str, optimizers: Sequence[Optimizer]) -> None:
    """Warn of optimizers that adapt their learning rate or warm it up themselves: a test of it says little."""
    for name, optimizer in zip(optimizer_names(optimizers), optimizers, strict=True):
        groups = optimizer.param_groups
        if any("d" in group for group in groups):
            rank_zero_warn(
                f"{owner} tests {name}, whose learning rate is a factor on a rate that it adapts itself; its authors"
                " advise 1.0."
            )
        warmup = max((group.get("warmup_steps", 0) for group in groups if "scheduled_lr" in group), default=0)
        if warmup > 0:
            rank_zero_warn(
                f"{owner} tests {name}, which lowers the learning rates of its first {warmup} steps: set"
                " warmup_steps=0 for the test."
            )
