"""New learning rates for schedulers that already drive an optimizer, set in place.

Afterwards a scheduler gives the values that it would give had it been built with the new learning rate. Numbers that
the user chose as absolute limits (``eta_min``, ``min_lr`` of ``ReduceLROnPlateau``, ``swa_lr``) stay as they are.

| scheduler | what is set |
|---|---|
| `CyclicLR` | ``base_lrs``, ``max_lrs``: the bounds of the cycle |
| `OneCycleLR` | the groups' ``max_lr``; ``initial_lr`` and ``min_lr``, which keep their ratio to it |
| `SequentialLR`, `ChainedScheduler` | the schedulers that they combine |
| `ReduceLROnPlateau` | nothing in the scheduler: it reads the group's ``lr`` |
| every other | ``base_lrs``: the learning rate |

A `LambdaLR` that goes above its base, as in a warm-up to 10 times the base, gets a lower base, so that its peak is the
new learning rate. A schedule that ends at almost nothing within the run gets ``decay_lr`` for it: the noise that a
high learning rate leaves is gone at its end.

In each group, ``initial_lr`` and the ``lr`` of the coming step are set. One function for each scheduler class
registers with `_set_base`; a class without one is treated as "every other".
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from functools import singledispatch
from typing import Any, NamedTuple

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
from lightning_lr.optimizers.scheduler_decay import decays
from lightning_lr.optimizers.scheduler_peaks import Peak, peaks

# A schedule that goes above its base by this share does so by rounding.
_ROUNDING = 1e-6


class _NewLRs(NamedTuple):
    """The arguments of `set_scheduler_lrs`, of a group with ratio 1."""

    lr: float
    base_lr: float
    max_lr: float
    one_cycle_max_lr: float


class ScheduledBase(NamedTuple):
    """What `set_scheduler_lrs` has set.

    Attributes:
        lr: the base learning rate of a group with ratio 1: ``lr``, ``decay_lr`` for a decay, or less for a higher peak.
        higher_peak: the peak of the schedule, if it lies higher nevertheless. That of a class that is not torch's is
            found by trying the schedule.
    """

    lr: float
    higher_peak: Peak | None


def scheduled_base(
    scheduler: LRScheduler | ReduceLROnPlateau, num_steps: int | None, *, lr: float, decay_lr: float
) -> tuple[float, float]:
    """The base learning rate that `set_scheduler_lrs` gives a scheduler, and the factor from it to the peak.

    Nothing is set. The factor is above 1 for a `LambdaLR` that goes above its base. It is one for all groups, so that
    they keep their ratios.
    """
    factor = max([1.0, *(peak.factor for peak in peaks(scheduler, num_steps) if peak.can_be_set)])
    return (decay_lr if decays(scheduler, num_steps) else lr) / factor, factor


def set_scheduler_lrs(
    scheduler: LRScheduler | ReduceLROnPlateau,
    ratios: Sequence[float],
    *,
    lr: float,
    base_lr: float,
    max_lr: float,
    decay_lr: float,
    one_cycle_max_lr: float,
    num_steps: int | None = None,
) -> ScheduledBase:
    """Give a scheduler and the groups of its optimizer new learning rates.

    Args:
        scheduler: any of torch's schedulers, or another one that computes learning rates from its ``base_lrs``.
        ratios: each group's learning rate divided by the values below.
        lr: the constant or initial learning rate, or the peak of a `LambdaLR` that goes above its base.
        base_lr: lower bound of a cycle.
        max_lr: upper bound of a cycle.
        decay_lr: peak of a schedule that decays to almost nothing.
        one_cycle_max_lr: peak of a one-cycle schedule.
        num_steps: how often the scheduler is stepped in the run. None if not known; then no base is lowered.
    """
    base, lowered = scheduled_base(scheduler, num_steps, lr=lr, decay_lr=decay_lr)
    groups = scheduler.optimizer.param_groups
    # the factor that the schedule now applies to each group's initial learning rate: 1, or less during a warm-up
    factors = [get_lr(group) / initial if (initial := initial_lr(group)) > 0 else 0.0 for group in groups]
    leaves = _leaves(scheduler)
    for leaf in leaves:
        _set_base(leaf, ratios, _NewLRs(base, base_lr, max_lr, one_cycle_max_lr))
    proportional = [
        (initial_lr(group) if "initial_lr" in group else base * ratio) * factor
        for group, ratio, factor in zip(groups, ratios, factors, strict=True)
    ]
    for group, coming_lr in zip(groups, _closed_form(scheduler) or proportional, strict=True):
        set_lr(group, coming_lr)
    for part in (scheduler, *leaves):
        part._last_lr = [get_lr(group) for group in groups]
    # Again: a class that is not torch's may have limits that do not follow the base.
    highest = max(peaks(scheduler, num_steps), key=lambda peak: peak.factor, default=None)
    if highest is None or highest.factor <= lowered * (1 + _ROUNDING):
        return ScheduledBase(base, higher_peak=None)
    return ScheduledBase(base, higher_peak=highest._replace(factor=highest.factor / lowered))


@singledispatch
def _set_base(scheduler: Any, ratios: Sequence[float], new: _NewLRs) -> None:
    """Set the values from which a scheduler computes learning rates. This is the function for "every other" class."""
    _set_base_lrs(scheduler, [new.lr * ratio for ratio in ratios])


@_set_base.register
def _set_cyclic(scheduler: CyclicLR, ratios: Sequence[float], new: _NewLRs) -> None:
    scheduler.max_lrs = [new.max_lr * ratio for ratio in ratios]
    _set_base_lrs(scheduler, [new.base_lr * ratio for ratio in ratios])


@_set_base.register
def _set_one_cycle(scheduler: OneCycleLR, ratios: Sequence[float], new: _NewLRs) -> None:
    groups = scheduler.optimizer.param_groups
    for group, ratio in zip(groups, ratios, strict=True):
        factor = new.one_cycle_max_lr * ratio / group["max_lr"] if ratio > 0 else 0.0
        for key in ("max_lr", "min_lr", "initial_lr"):
            set_value(group, key, group[key] * factor)
    scheduler.base_lrs = [group["initial_lr"] for group in groups]


@_set_base.register
def _set_plateau(scheduler: ReduceLROnPlateau, ratios: Sequence[float], new: _NewLRs) -> None:
    """Nothing: the group's ``lr`` is all that it reads."""


def _set_base_lrs(scheduler: Any, base_lrs: list[float]) -> None:
    scheduler.base_lrs = base_lrs
    for group, base_lr in zip(scheduler.optimizer.param_groups, base_lrs, strict=True):
        set_value(group, "initial_lr", base_lr)


def _leaves(scheduler: Any) -> list[Any]:
    """The schedulers that compute learning rates, without those that only combine others."""
    parts = getattr(scheduler, "_schedulers", None)
    return [scheduler] if parts is None else [leaf for part in parts for leaf in _leaves(part)]


def _closed_form(scheduler: Any) -> list[float] | None:
    """The learning rates of the coming step; None if they are proportional to the initial ones."""
    if isinstance(scheduler, SequentialLR):
        return _closed_form(scheduler._schedulers[bisect_right(scheduler._milestones, scheduler.last_epoch)])
    if isinstance(scheduler, CosineAnnealingLR):
        return [float(lr) for lr in scheduler._get_closed_form_lr()]
    if isinstance(scheduler, (CyclicLR, OneCycleLR, CosineAnnealingWarmRestarts)):
        # Their get_lr is a function of the step counter, so it can be called at any time; torch warns without the flag.
        scheduler._get_lr_called_within_step = True
        lrs = [float(lr) for lr in scheduler.get_lr()]
        scheduler._get_lr_called_within_step = False
        return lrs
    return None
