"""Whether a scheduler of torch lowers the learning rate to almost nothing within the run."""

from __future__ import annotations

import copy
import math
from functools import singledispatch
from typing import Any

from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiStepLR,
    PolynomialLR,
    SequentialLR,
    StepLR,
)

# A schedule that ends at this share of its peak, or less, is one to almost nothing.
DECAYED_SHARE = 0.1


def decays(scheduler: object, num_steps: int | None) -> bool:
    """Whether a schedule ends at a tenth of its peak or less.

    Args:
        scheduler: any scheduler. False for one whose end is not known.
        num_steps: how often it is stepped in the run; None if not known.
    """
    if num_steps is None or num_steps < 1:
        return False
    try:
        return _end_share(scheduler, num_steps) <= DECAYED_SHARE
    except Exception:  # a user's function need not be defined at the end of the run
        return False


@singledispatch
def _end_share(_scheduler: Any, _num_steps: int) -> float:
    """The learning rate after ``_num_steps``, divided by the highest one. Most schedulers are not known to fall."""
    return 1.0


@_end_share.register
def _of_cosine(scheduler: CosineAnnealingLR, num_steps: int) -> float:
    lowest = scheduler.eta_min / max(scheduler.base_lrs)
    return float(lowest + (1 - lowest) * (1 + math.cos(math.pi * num_steps / scheduler.T_max)) / 2)


@_end_share.register
def _of_polynomial(scheduler: PolynomialLR, num_steps: int) -> float:
    return float((1 - min(num_steps / scheduler.total_iters, 1.0)) ** scheduler.power)


@_end_share.register
def _of_linear(scheduler: LinearLR, num_steps: int) -> float:
    share = min(num_steps / scheduler.total_iters, 1.0)
    end = scheduler.start_factor + share * (scheduler.end_factor - scheduler.start_factor)
    return float(end / max(end, scheduler.start_factor))


@_end_share.register
def _of_exponential(scheduler: ExponentialLR, num_steps: int) -> float:
    return float(min(1.0, scheduler.gamma) ** num_steps)


@_end_share.register
def _of_step(scheduler: StepLR, num_steps: int) -> float:
    return float(min(1.0, scheduler.gamma) ** (num_steps // scheduler.step_size))


@_end_share.register
def _of_multi_step(scheduler: MultiStepLR, num_steps: int) -> float:
    passed = sum(count for milestone, count in scheduler.milestones.items() if milestone <= num_steps)
    return float(min(1.0, scheduler.gamma) ** passed)


@_end_share.register
def _of_lambda(scheduler: LambdaLR, num_steps: int) -> float:
    stride = max(1, num_steps // 1000)
    steps = [*range(0, num_steps, stride), num_steps]
    shares = []
    for function in map(copy.copy, scheduler.lr_lambdas):  # an object may count its calls
        factors = [float(function(step)) for step in steps]
        shares.append(factors[-1] / max(factors))
    return max(shares)


@_end_share.register
def _of_sequential(scheduler: SequentialLR, num_steps: int) -> float:
    """Of the schedulers before the last one that is reached, each is taken to end at its peak, as a warm-up does."""
    starts = [0, *scheduler._milestones]
    reached = max(i for i, start in enumerate(starts) if start < num_steps)
    return float(_end_share(scheduler._schedulers[reached], num_steps - starts[reached]))
