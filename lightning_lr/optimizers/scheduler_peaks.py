"""How far torch's schedulers go above the base learning rate of their optimizer."""

from __future__ import annotations

import copy
import math
import warnings
from functools import singledispatch
from types import SimpleNamespace
from typing import Any, NamedTuple

from torch.optim.lr_scheduler import (
    ChainedScheduler,
    ExponentialLR,
    LambdaLR,
    LRScheduler,
    MultiplicativeLR,
    MultiStepLR,
    SequentialLR,
    StepLR,
    _LRScheduler,
)

# The steps at which a function of the user is called: at most this many, evenly spaced. They take about 0.01 s, and
# miss the top of a linear warm-up over 1 % of the run by at most 1 %.
_MAX_STEPS = 10_000


class Peak(NamedTuple):
    """How far a scheduler goes above its base.

    Attributes:
        scheduler: name of its class.
        factor: highest learning rate divided by the base learning rate.
        num_steps: the steps of the scheduler within which it gets there.
        can_be_set: whether the base can be lowered so that the peak of the run is the wanted learning rate.
    """

    scheduler: str
    factor: float
    num_steps: int
    can_be_set: bool


def peaks(scheduler: object, num_steps: int | None) -> list[Peak]:
    """The peaks of a scheduler, one for each of those that it combines. Those that cannot be known are left out.

    A peak that a `LambdaLR` has passed does not count.

    Args:
        scheduler: any scheduler.
        num_steps: how often it is stepped in the run; None if not known.
    """
    found: list[Peak] = []
    for part, steps in _parts(scheduler, num_steps):
        is_function = isinstance(part, LambdaLR)
        if steps is None and not is_function:
            continue  # it rises as long as the run lasts
        seen = _MAX_STEPS if steps is None else steps
        try:
            factor = _highest_factor(part, seen)
        except Exception:  # a user's function need not be defined beyond the run
            continue
        found.append(Peak(type(part).__name__, factor, seen, is_function and num_steps is not None))
    return found


def _parts(scheduler: Any, num_steps: int | None) -> list[tuple[Any, int | None]]:
    """The schedulers that compute learning rates, each with the number of its own steps."""
    if isinstance(scheduler, SequentialLR):
        starts, parts = [0, *scheduler._milestones], []
        for part, start, end in zip(scheduler._schedulers, starts, [*starts[1:], None], strict=True):
            if num_steps is not None and start > num_steps:
                continue
            steps = None if num_steps is None else num_steps - start
            if end is not None and steps is not None:
                steps = min(steps, end - 1 - start)
            parts += _parts(part, steps)
        return parts
    if isinstance(scheduler, ChainedScheduler):
        # A LambdaLR sets the learning rate whatever the schedulers before it have set. Those after it mostly lower it.
        functions = [part for part in scheduler._schedulers if isinstance(part, LambdaLR)]
        return [(functions[-1], num_steps)] if functions else []
    return [(scheduler, num_steps)]


@singledispatch
def _highest_factor(scheduler: Any, num_steps: int) -> float:
    """The highest learning rate of steps 0 to ``num_steps``, divided by the base.

    torch's classes without a function here never exceed their base, or have bounds that are set. Other classes are
    tried on copies of the groups, from the coming step on.
    """
    torch_class = next((kind for kind in type(scheduler).__mro__ if kind.__module__ == LRScheduler.__module__), None)
    return _tried_factor(scheduler, num_steps) if torch_class in (LRScheduler, _LRScheduler) else 1.0


@_highest_factor.register
def _of_lambda(scheduler: LambdaLR, num_steps: int) -> float:
    stride = math.ceil((num_steps + 1) / _MAX_STEPS)
    first = min(max(scheduler.last_epoch, 0), num_steps)
    steps = [*range(first, num_steps, stride), num_steps]
    # Groups mostly share a function. An object may count its calls, so a copy is called. It is a shallow one: a method
    # of a LightningModule needs the module with its Trainer.
    functions = {id(function): copy.copy(function) for function in scheduler.lr_lambdas}.values()
    return max(float(function(step)) for function in functions for step in steps)


@_highest_factor.register
def _of_multiplicative(scheduler: MultiplicativeLR, num_steps: int) -> float:
    functions = [copy.copy(function) for function in scheduler.lr_lambdas]
    factors = [1.0] * len(functions)
    highest = 1.0
    for step in range(1, min(num_steps, _MAX_STEPS) + 1):
        factors = [factor * float(f(step)) for factor, f in zip(factors, functions, strict=True)]
        highest = max(highest, *factors)
    return highest


@_highest_factor.register
def _of_exponential(scheduler: ExponentialLR, num_steps: int) -> float:
    return float(max(1.0, scheduler.gamma) ** num_steps)


@_highest_factor.register
def _of_step(scheduler: StepLR, num_steps: int) -> float:
    return float(max(1.0, scheduler.gamma) ** (num_steps // scheduler.step_size))


@_highest_factor.register
def _of_multi_step(scheduler: MultiStepLR, num_steps: int) -> float:
    passed = sum(count for milestone, count in scheduler.milestones.items() if milestone <= num_steps)
    return float(max(1.0, scheduler.gamma) ** passed)


def _tried_factor(scheduler: Any, num_steps: int) -> float:
    groups = [{**group, "lr": float(group["lr"])} for group in scheduler.optimizer.param_groups]
    # The copy drives a stand-in for the optimizer.
    tried = copy.deepcopy(scheduler, {id(scheduler.optimizer): SimpleNamespace(param_groups=groups)})
    tried._step_count = 2  # after the first one, at which torch looks into the optimizer

    def factor() -> float:
        factors = [group["lr"] / base for group, base in zip(groups, scheduler.base_lrs, strict=True) if base > 0]
        return float(max(factors, default=1.0))

    highest = max(1.0, factor())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the run itself will warn
        for _ in range(min(num_steps - scheduler.last_epoch, _MAX_STEPS)):
            tried.step()
            highest = max(highest, factor())
    return highest
