"""`apply_suggestion`: set a suggested learning rate everywhere in a run where a learning rate is held."""

from __future__ import annotations

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from lightning_lr.callbacks._applied import Applied
from lightning_lr.callbacks._scheduled_lr import ScheduledLR
from lightning_lr.callbacks.hypergradient_lr import HypergradientLR
from lightning_lr.optimizers.param_groups import lr_ratios, optimizer_names, set_lr
from lightning_lr.optimizers.torch_schedulers import set_scheduler_lrs
from lightning_lr.range_test.suggestion import Suggestion

_ATTRIBUTES = ("lr", "learning_rate")  # the names that Lightning's own learning rate finder looks for


def apply_suggestion(trainer: Trainer, pl_module: LightningModule, suggestion: Suggestion, owner: str) -> list[Applied]:
    """Set a suggestion everywhere. Parameter groups keep their ratios.

    It sets torch's schedulers (in place) and their optimizers, the other optimizers, every callback that schedules
    (`CyclicalLR`, ...) and whose bounds were left open, and a number named ``lr`` or ``learning_rate`` of the module or
    its hyperparameters. A callback with bounds of its own keeps them. An optimizer that such a callback drives is not
    set here, since the callback sets it. `HypergradientLR` begins again with a scale of 1.

    Args:
        trainer: in ``fit``.
        pl_module: its module.
        suggestion: as found.
        owner: name of the callback that found it, for warnings.

    Returns:
        What was set.
    """
    schedules = [callback for callback in vars(trainer)["callbacks"] if isinstance(callback, ScheduledLR)]
    _restart_adaptation(trainer, schedules)
    return [
        *_set_optimizers(trainer, suggestion, schedules, owner),
        *(callback.set_bounds_from(suggestion) for callback in schedules if callback.bounds_left_open),
        *_set_attributes(pl_module, suggestion.lr),
    ]


def _restart_adaptation(trainer: Trainer, schedules: list[ScheduledLR]) -> None:
    """Restart the adaptation of each optimizer whose learning rate is set: its scale belongs to the old one."""
    adapting = [callback for callback in vars(trainer)["callbacks"] if isinstance(callback, HypergradientLR)]
    for i, optimizer in enumerate(trainer.optimizers):
        if all(callback.bounds_left_open for callback in schedules if callback.drives_optimizer(i)):
            for callback in adapting:
                callback.restart(optimizer)


def _set_optimizers(
    trainer: Trainer, suggestion: Suggestion, schedules: list[ScheduledLR], owner: str
) -> list[Applied]:
    """Set torch's schedulers with their optimizers, and then the optimizers that nothing drives."""
    ratios = {id(group): ratio for group, ratio in lr_ratios(trainer.optimizers)}
    names = dict(zip(map(id, trainer.optimizers), optimizer_names(trainer.optimizers), strict=True))
    applied: list[Applied] = []
    has_scheduler: set[int] = set()
    for config in trainer.lr_scheduler_configs:
        scheduler = config.scheduler
        if not isinstance(scheduler, (LRScheduler, ReduceLROnPlateau)):
            rank_zero_warn(
                f"{owner}: {type(scheduler).__name__} is not a scheduler of torch, so its learning rate was not"
                f" changed: build it with lr={suggestion.lr:.3g}."
            )
            continue
        set_scheduler_lrs(
            scheduler,
            [ratios[id(group)] for group in scheduler.optimizer.param_groups],
            lr=suggestion.lr,
            base_lr=suggestion.base_lr,
            max_lr=suggestion.max_lr,
            one_cycle_max_lr=suggestion.one_cycle_max_lr,
        )
        has_scheduler.add(id(scheduler.optimizer))
        applied += [Applied(names[id(scheduler.optimizer)]), Applied(type(scheduler).__name__)]
    for i, optimizer in enumerate(trainer.optimizers):
        if id(optimizer) not in has_scheduler and not any(callback.drives_optimizer(i) for callback in schedules):
            for group in optimizer.param_groups:
                set_lr(group, suggestion.lr * ratios[id(group)])
            applied.append(Applied(names[id(optimizer)]))
    return applied


def _set_attributes(pl_module: LightningModule, lr: float) -> list[Applied]:
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
