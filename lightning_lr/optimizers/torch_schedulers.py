"""New learning rates for schedulers that already drive an optimizer, set in place.

A scheduler afterwards gives what it would give had it been built with the new learning rate. Numbers that the user
chose as absolute limits (``eta_min``, ``min_lr`` of ``ReduceLROnPlateau``, ``swa_lr``) stay as they are.

| scheduler | what is set |
|---|---|
| `CyclicLR` | ``base_lrs``, ``max_lrs``: the bounds of the cycle |
| `OneCycleLR` | the groups' ``max_lr``; ``initial_lr`` and ``min_lr`` by its own two factors |
| `SequentialLR`, `ChainedScheduler` | the schedulers in it |
| `ReduceLROnPlateau` | nothing of its own: it reads the group's ``lr`` |
| every other | ``base_lrs``: the learning rate |

and in each group ``initial_lr`` and the ``lr`` of the coming step.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    CyclicLR,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
)

from lightning_lr.optimizers.param_groups import get_lr, initial_lr, set_lr, set_value


def set_scheduler_lrs(
    scheduler: LRScheduler | ReduceLROnPlateau,
    ratios: Sequence[float],
    *,
    lr: float,
    base_lr: float,
    max_lr: float,
    one_cycle_max_lr: float,
) -> None:
    """Give a scheduler and the groups of its optimizer new learning rates.

    Args:
        scheduler: any of torch's schedulers, or one that is built on ``base_lrs`` as they are.
        ratios: each group's learning rate relative to the values below.
        lr: the constant or initial learning rate.
        base_lr: lower bound of a cycle.
        max_lr: upper bound of a cycle.
        one_cycle_max_lr: peak of a one-cycle schedule.
    """
    groups = scheduler.optimizer.param_groups
    new = [lr * ratio for ratio in ratios]
    # where in its schedule each group stands: 1 at its base, less during a warm-up
    positions = [get_lr(group) / was if (was := initial_lr(group)) > 0 else 0.0 for group in groups]
    leaves = _leaves(scheduler)
    for leaf in leaves:
        if isinstance(leaf, OneCycleLR):
            for group, ratio in zip(groups, ratios, strict=True):
                factor = one_cycle_max_lr * ratio / group["max_lr"] if ratio > 0 else 0.0
                for key in ("max_lr", "min_lr", "initial_lr"):
                    set_value(group, key, group[key] * factor)
            leaf.base_lrs = [group["initial_lr"] for group in groups]
            continue
        base_lrs = [base_lr * ratio for ratio in ratios] if isinstance(leaf, CyclicLR) else new
        if isinstance(leaf, CyclicLR):
            leaf.max_lrs = [max_lr * ratio for ratio in ratios]
        if not isinstance(leaf, ReduceLROnPlateau):
            leaf.base_lrs = list(base_lrs)
            for group, base in zip(groups, base_lrs, strict=True):
                set_value(group, "initial_lr", base)
    proportional = [
        (get_lr({"lr": group["initial_lr"]}) if "initial_lr" in group else lr) * position
        for group, lr, position in zip(groups, new, positions, strict=True)
    ]
    for group, value in zip(groups, _closed_form(scheduler) or proportional, strict=True):
        set_lr(group, value)
    for part in (scheduler, *leaves):
        part._last_lr = [get_lr(group) for group in groups]


def _leaves(scheduler: Any) -> list[Any]:
    """The schedulers that compute learning rates, without those that only combine others."""
    parts = getattr(scheduler, "_schedulers", None)
    return [scheduler] if parts is None else [leaf for part in parts for leaf in _leaves(part)]


def _closed_form(scheduler: Any) -> list[float] | None:
    """What the scheduler gives for the coming step; None if that is proportional to its base."""
    if isinstance(scheduler, SequentialLR):
        return _closed_form(scheduler._schedulers[bisect_right(scheduler._milestones, scheduler.last_epoch)])
    if isinstance(scheduler, CosineAnnealingLR):
        return [float(lr) for lr in scheduler._get_closed_form_lr()]
    if isinstance(scheduler, (CyclicLR, OneCycleLR, CosineAnnealingWarmRestarts)):
        scheduler._get_lr_called_within_step = True  # a function of its step counter: it can be asked at any time
        lrs = [float(lr) for lr in scheduler.get_lr()]
        scheduler._get_lr_called_within_step = False
        return lrs
    return None
