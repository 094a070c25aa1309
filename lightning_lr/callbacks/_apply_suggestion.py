"""`apply_suggestion`: set a suggested learning rate everywhere in a run where a learning rate is held.

`optimizer_lr` is the learning rate with which the optimizer would be built for the same run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from lightning_lr.callbacks._applied import Applied
from lightning_lr.callbacks._replaced_schedulers import is_replaced
from lightning_lr.callbacks._scheduled_lr import ScheduledLR
from lightning_lr.callbacks.hypergradient_lr import HypergradientLR
from lightning_lr.optimizers.param_groups import has_lr, lr_ratios, optimizer_names, set_lr
from lightning_lr.optimizers.torch_schedulers import scheduled_base, set_scheduler_lrs
from lightning_lr.range_test.suggestion import Suggestion
from lightning_lr.trainer.run_lengths import run_lengths

_ATTRIBUTES = ("lr", "learning_rate")  # the names that Lightning's own learning rate finder looks for


def optimizer_lr(trainer: Trainer, suggestion: Suggestion) -> float:
    """The learning rate to build the optimizer with, for the schedulers of the run. The lowest one if they differ.

    Nothing is set.
    """
    bases = (
        scheduled_base(
            config.scheduler, _num_scheduler_steps(trainer, config), lr=suggestion.lr, decay_lr=suggestion.decay_lr
        )
        for config in _stepping_schedulers(trainer)
        if _is_of_torch(config.scheduler)
    )
    return min((lr for lr, _ in bases), default=suggestion.lr)


def apply_suggestion(
    trainer: Trainer, pl_module: LightningModule, suggestion: Suggestion, module_lr: float, owner: str
) -> list[Applied]:
    """Set a suggestion everywhere. Parameter groups keep their ratios.

    It sets torch's schedulers (in place) and their optimizers, the other optimizers, every callback that schedules
    (`CyclicalLR`, ...) and whose bounds were left open, and a number named ``lr`` or ``learning_rate`` of the module or
    its hyperparameters. A callback whose bounds were given keeps them. An optimizer that such a callback drives is not
    set here, since the callback sets it. A scheduler that a callback replaces is not set. A `LambdaLR` that goes above
    its base gets a base so that its peak is the suggestion.

    Args:
        trainer: in ``fit``.
        pl_module: its module.
        suggestion: as found.
        module_lr: the `optimizer_lr`, for the module and its hyperparameters.
        owner: name of the callback that found it, for warnings.

    Returns:
        What was set.
    """
    schedules = [callback for callback in vars(trainer)["callbacks"] if isinstance(callback, ScheduledLR)]
    ratios = {id(group): ratio for group, ratio in lr_ratios(trainer.optimizers)}
    return [
        *_set_schedulers(trainer, suggestion, ratios, owner),
        *_set_optimizers(trainer, suggestion, ratios, schedules),
        *(callback.set_bounds_from(suggestion) for callback in schedules if callback.bounds_left_open),
        *set_module_lr(pl_module, module_lr),
    ]


def restart_adaptation(trainer: Trainer) -> None:
    """Let `HypergradientLR` begin again with a scale of 1, for each optimizer whose learning rate a suggestion sets.

    To be called before `apply_suggestion`, unless the scale belongs to that learning rate already.
    """
    schedules = [callback for callback in vars(trainer)["callbacks"] if isinstance(callback, ScheduledLR)]
    adapting = [callback for callback in vars(trainer)["callbacks"] if isinstance(callback, HypergradientLR)]
    for i, optimizer in enumerate(trainer.optimizers):
        if all(callback.bounds_left_open for callback in schedules if callback.drives_optimizer(i)):
            for callback in adapting:
                callback.restart(optimizer)


def _stepping_schedulers(trainer: Trainer) -> Iterator[Any]:
    """The configs of the schedulers that no callback replaces."""
    return (config for config in trainer.lr_scheduler_configs if not is_replaced(config))


def _is_of_torch(scheduler: object) -> bool:
    return isinstance(scheduler, (LRScheduler, ReduceLROnPlateau))


def _set_schedulers(trainer: Trainer, suggestion: Suggestion, ratios: dict[int, float], owner: str) -> list[Applied]:
    """Set torch's schedulers with their optimizers."""
    names = dict(zip(map(id, trainer.optimizers), optimizer_names(trainer.optimizers), strict=True))
    applied: list[Applied] = []
    for config in _stepping_schedulers(trainer):
        scheduler = config.scheduler
        if not _is_of_torch(scheduler):
            rank_zero_warn(
                f"{owner}: {type(scheduler).__name__} is not a scheduler of torch, so its learning rate was not"
                f" changed: build it with lr={suggestion.lr:.3g}."
            )
            continue
        base_lr, higher_peak = set_scheduler_lrs(
            scheduler,
            [ratios[id(group)] for group in scheduler.optimizer.param_groups],
            lr=suggestion.lr,
            base_lr=suggestion.base_lr,
            max_lr=suggestion.max_lr,
            decay_lr=suggestion.decay_lr,
            one_cycle_max_lr=suggestion.one_cycle_max_lr,
            num_steps=_num_scheduler_steps(trainer, config),
        )
        optimizer = scheduler.optimizer
        built = Applied(names[id(optimizer)])
        if base_lr != suggestion.lr:
            built = built._replace(call=f"{type(optimizer).__name__}(lr={base_lr:.3g})", option="lr")
        if higher_peak is not None:
            rank_zero_warn(
                f"{owner}: {higher_peak.scheduler} goes up to {higher_peak.factor:.3g} times this learning rate within"
                f" {higher_peak.num_steps} steps: give its optimizer a lower learning rate, or build it to stay below."
            )
        applied += [built, Applied(type(scheduler).__name__)]
    return applied


def _num_scheduler_steps(trainer: Trainer, config: Any) -> int | None:
    """How often Lightning steps a scheduler in the run; None if not known."""
    lengths = run_lengths(trainer)
    epoch_steps, run_steps = lengths.epoch_steps, lengths.run_steps
    if not trainer.lightning_module.automatic_optimization or not math.isfinite(run_steps):
        return None
    if config.interval == "step" and config.frequency == 1:
        return int(run_steps)
    if not math.isfinite(epoch_steps):
        return None
    if config.interval == "epoch":
        return math.ceil(run_steps / epoch_steps) // int(config.frequency)
    if trainer.accumulate_grad_batches != 1:
        return None  # the frequency counts batches, and the scheduler steps only where the optimizer does
    whole_epochs, rest = divmod(int(run_steps), int(epoch_steps))
    return whole_epochs * int(epoch_steps // config.frequency) + rest // int(config.frequency)


def _set_optimizers(
    trainer: Trainer, suggestion: Suggestion, ratios: dict[int, float], schedules: list[ScheduledLR]
) -> list[Applied]:
    """Set the optimizers that no scheduler and no callback drives. Groups without a learning rate stay without."""
    has_scheduler = {
        id(config.scheduler.optimizer) for config in _stepping_schedulers(trainer) if _is_of_torch(config.scheduler)
    }
    applied = []
    names = optimizer_names(trainer.optimizers)
    for i, optimizer in enumerate(trainer.optimizers):
        if not has_lr(optimizer) or any(callback.drives_optimizer(i) for callback in schedules):
            continue
        if id(optimizer) not in has_scheduler:
            for group in (group for group in optimizer.param_groups if "lr" in group):
                set_lr(group, suggestion.lr * ratios[id(group)])
            applied.append(Applied(names[i]))
    return applied


def module_lr(pl_module: LightningModule) -> float | None:
    """The number that `set_module_lr` sets, None if the module has none."""
    for name in _ATTRIBUTES:
        for value in (getattr(pl_module, name, None), pl_module.hparams.get(name)):
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                return float(value)
    return None


def set_module_lr(pl_module: LightningModule, lr: float) -> list[Applied]:
    """Set numbers of the module and its hyperparameters, so that checkpoints hold the learning rate that was used."""
    applied = []
    for name in _ATTRIBUTES:
        if _is_number(getattr(pl_module, name, None)):
            setattr(pl_module, name, lr)
            applied.append(Applied(f"model.{name}", option=f"model.{name}"))
        if _is_number(pl_module.hparams.get(name)):
            pl_module.hparams[name] = lr
            applied.append(Applied(f"model.hparams.{name}", option=f"model.{name}"))
    return applied


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
