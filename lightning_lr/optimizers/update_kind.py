"""How the update of an optimizer depends on the gradient, by what the optimizer does and not by its name."""

from __future__ import annotations

import inspect
from collections import defaultdict
from typing import Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

UpdateKind = Literal["gradient", "momentum", "normalized", "shrinking"]

# Steps with one and the same gradient after which updates are compared. After 100, momentum, averages of squares and
# RAdam's first steps, which are not normalized, have settled.
_SETTLED, _LAST = 100, 400
# The settled update per first one: 1 for SGD, 1.5 with a momentum of a third, 10 with one of 0.9.
_GROWTH = 1.25
# The last update per one of the settled: 1/2 for Adagrad, whose updates shrink as 1/sqrt(t), 0.8 for RMSprop.
_SHRINKAGE = 0.65
# Sizes of the gradient. Their ratio is a power of two, so that it adds no rounding.
_SMALL, _LARGE = 1.0, 16.0
# Between 1 (the size of the gradient does not matter) and 16 (the update is proportional to it).
_PROPORTIONAL = 4.0
# Low, so that weight decay hardly matters.
_LR = 1e-3


def update_kind(optimizer: Optimizer) -> UpdateKind:
    """What an optimizer does to a parameter of 4 x 4 zeros in 400 steps with gradients of known size.

    The optimizer, its parameters and its state stay as they are.

    Returns:
        ``"gradient"`` if an update is proportional to the gradient of this step (SGD), ``"momentum"`` if it is
        proportional to gradients and adds them up (SGD with momentum), else ``"normalized"``: the size of the gradients
        does not matter (Adam, Lion, Muon, Adafactor). ``"shrinking"`` is normalized by the sum of all gradients so far,
        so that an update is shorter than the one before (Adagrad). An optimizer that can't be tried, such as LBFGS,
        which needs a closure, counts as ``"normalized"``.
    """
    for value in vars(optimizer).values():
        if isinstance(value, Optimizer):  # a wrapper, such as Lookahead, steps the optimizer in it
            return update_kind(value)
    try:
        small, large = (_update_norms(optimizer, size) for size in (_SMALL, _LARGE))
    except Exception:  # an optimizer from anywhere may need anything that is not here
        return "normalized"
    first, settled, last = small
    if large[-1] > _PROPORTIONAL * last > 0:
        return "momentum" if settled > _GROWTH * first else "gradient"
    return "shrinking" if 0 < last < _SHRINKAGE * settled else "normalized"


def _update_norms(optimizer: Optimizer, size: float) -> list[float]:
    """The norms of three updates, first, settled and last, if all elements of all gradients are ``size``."""
    group = max(optimizer.param_groups, key=lambda each: each.get("momentum", 0.0))
    like: Tensor = group["params"][0]
    parameter = torch.nn.Parameter(torch.zeros(4, 4, device=like.device))
    # copy.copy would change the state that both share (Optimizer.__setstate__).
    probe: Optimizer = object.__new__(type(optimizer))
    vars(probe).update(vars(optimizer))
    probe.state = defaultdict(dict)
    probe.param_groups = [{**group, "params": [parameter], "lr": _LR}]
    # Not the method of the instance, which schedulers replace, and without the hooks that torch wraps around it.
    step = inspect.unwrap(type(optimizer).step)
    norms = []
    for number in range(1, _LAST + 1):
        before = parameter.detach().clone()
        parameter.grad = torch.full_like(parameter, size)
        with torch.no_grad():
            step(probe)
        if number in (1, _SETTLED, _LAST):
            norms.append(float((parameter.detach() - before).norm()))
    return norms
