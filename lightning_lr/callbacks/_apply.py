"""Give a learning rate that was found to everything that holds one."""

from __future__ import annotations

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from lightning_lr.callbacks._scheduled_lr import ScheduledLR
from lightning_lr.callbacks.hypergradient_lr import HypergradientLR
from lightning_lr.optimizers.param_groups import lr_ratios, optimizer_names, set_lr
from lightning_lr.optimizers.torch_schedulers import set_scheduler_lrs
from lightning_lr.range_test.suggestion import Suggestion

_ATTRIBUTES = ("lr", "learning_rate")  # as Lightning's own tools name them


def apply_suggestion(trainer: Trainer, pl_module: LightningModule, suggestion: Suggestion, owner: str) -> list[str]:
    """Set a suggestion everywhere, the ratios of parameter groups kept, and name what was set.

    Optimizers, torch's schedulers (in place), a number named ``lr`` or ``learning_rate`` of the module or its
    hyperparameters, and every callback that schedules (`CyclicalLR`, ...) and whose bounds were left open. One with
    bounds of its own keeps them. The optimizers that they drive are left to them. `HypergradientLR` begins anew where
    a learning rate is set.

    Args:
        trainer: in ``fit``.
        pl_module: its module.
        suggestion: what was found.
        owner: the callback that found it, named in warnings.

    Returns:
        What was set, in words for the user: ``["Adam", "StepLR", "model.lr"]``.
    """
    scheduling = [callback for callback in vars(trainer)["callbacks"] if isinstance(callback, ScheduledLR)]
    _restart_adaptation(trainer, scheduling)
    ratios = {id(group): ratio for group, ratio in lr_ratios(trainer.optimizers)}
    names = dict(zip(map(id, trainer.optimizers), optimizer_names(trainer.optimizers), strict=True))
    applied: list[str] = []
    scheduled: set[int] = set()
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
        scheduled.add(id(scheduler.optimizer))
        applied += [names[id(scheduler.optimizer)], type(scheduler).__name__]
    for i, optimizer in enumerate(trainer.optimizers):
        if id(optimizer) not in scheduled and not any(callback.drives(i) for callback in scheduling):
            for group in optimizer.param_groups:
                set_lr(group, suggestion.lr * ratios[id(group)])
            applied.append(names[id(optimizer)])

    for callback in scheduling:
        if callback.bounds_open:
            applied.append(callback.take(suggestion))
    return applied + _set_attributes(pl_module, suggestion.lr)


def summary(owner: str, suggestion: Suggestion, applied: list[str]) -> str:
    """One line: what was found, how sure, what was set, and how to fix it for good."""
    certainty = "confident" if suggestion.confident else "not confident"
    found = f"lr={suggestion.lr:.3g} ({certainty}), cycle bounds {suggestion.base_lr:.3g} to {suggestion.max_lr:.3g}"
    if not applied:
        return f"{owner} found {found}. Nothing was set."
    calls = [name for name in applied if "(" in name]
    attribute = next((name for name in applied if name.startswith("model.")), "optimizer.lr")
    fix = ", ".join(calls) or f"--{attribute.replace('.hparams', '')}={suggestion.lr:.3g}"
    names = dict.fromkeys(name.split("(")[0] for name in applied)
    return f"{owner} found {found}. Set: {', '.join(names)}. To keep it for good: {fix}"


def _restart_adaptation(trainer: Trainer, scheduling: list[ScheduledLR]) -> None:
    """What has adapted to the old learning rates does not hold for those that are set now."""
    adapting = [callback for callback in vars(trainer)["callbacks"] if isinstance(callback, HypergradientLR)]
    for i, optimizer in enumerate(trainer.optimizers):
        if all(callback.bounds_open for callback in scheduling if callback.drives(i)):
            for callback in adapting:
                callback.restart(optimizer)


def _set_attributes(pl_module: LightningModule, lr: float) -> list[str]:
    """Set numbers of the module and its hyperparameters; what is saved with a checkpoint then says what was used."""
    applied = []
    for name in _ATTRIBUTES:
        if _is_number(getattr(pl_module, name, None)):
            setattr(pl_module, name, lr)
            applied.append(f"model.{name}")
        if _is_number(pl_module.hparams.get(name)):
            pl_module.hparams[name] = lr
            applied.append(f"model.hparams.{name}")
    return applied


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
