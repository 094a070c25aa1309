"""How the update of an optimizer depends on the gradient, by what the optimizer does and not by its name."""

from __future__ import annotations

import copy
import inspect
from collections import OrderedDict, defaultdict
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

UpdateKind = Literal["gradient", "momentum", "normalized", "shrinking"]

# Steps with one and the same gradient after which updates are compared. After 50, momentum has settled, and so have
# RAdam's first steps, which are not normalized.
_SETTLED, _LAST = 50, 200
# The settled update per first one: 1 for SGD, 1.5 with a momentum of a third, 10 with one of 0.9.
_GROWTH = 1.25
# The last update per settled one: 1/2 for Adagrad, whose updates shrink as 1/sqrt(t), 0.68 for RMSprop.
_SHRINKAGE = 0.6
# Sizes of the gradient. Their ratio is a power of two, so that it adds no rounding.
_SMALL, _LARGE = 1.0, 16.0
# Between 1 (the size of the gradient does not matter) and 16 (the update is proportional to it).
_PROPORTIONAL = 4.0
# Low, so that weight decay hardly matters.
_LR = 1e-3


def update_kind(optimizer: Optimizer) -> UpdateKind | None:
    """What an optimizer does to a parameter of 4 x 4 zeros in 200 steps with gradients of known size.

    The optimizer, its parameters, its state and torch's random state stay as they are.

    Returns:
        ``"gradient"`` if an update is proportional to the gradient of this step (SGD), ``"momentum"`` if it is
        proportional to gradients and adds them up (SGD with momentum), else ``"normalized"``: the size of the gradients
        does not matter (Adam, Lion, Muon, Adafactor). ``"shrinking"`` is normalized by the sum of all gradients so far,
        so that an update is shorter than the one before (Adagrad). None for an optimizer that can't be tried, such as
        LBFGS, which needs a closure.
    """
    optimizer = _innermost(optimizer)
    try:
        first, settled, last = _update_norms(optimizer, _SMALL, _LAST)
        _, large = _update_norms(optimizer, _LARGE, _SETTLED)
    except Exception:  # an optimizer from anywhere may need anything that is not here
        return None
    if large > _PROPORTIONAL * settled > 0:
        return "momentum" if settled > _GROWTH * first else "gradient"
    return "shrinking" if 0 < last < _SHRINKAGE * settled else "normalized"


def _innermost(optimizer: Optimizer) -> Optimizer:
    """The optimizer that a wrapper, such as Lookahead, steps; itself if it is none."""
    seen = {id(optimizer)}
    while True:
        inner = [each for each in vars(optimizer).values() if isinstance(each, Optimizer) and id(each) not in seen]
        if not inner:
            return optimizer
        optimizer = inner[0]
        seen.add(id(optimizer))


def _update_norms(optimizer: Optimizer, size: float, steps: int) -> list[float]:
    """The norms of the first, the settled and the last update, if all elements of all gradients are ``size``."""
    groups = [group for group in optimizer.param_groups if group["params"]]
    group = max(groups, key=lambda each: each.get("momentum", 0.0))
    like: Tensor = group["params"][0]
    parameter = torch.nn.Parameter(torch.zeros(4, 4, device=like.device))
    options = copy.deepcopy({name: value for name, value in group.items() if name != "params"})
    probe = _copy_without_state(optimizer)
    probe.state = defaultdict(dict)
    probe.param_groups = [{**options, "params": [parameter], "lr": _LR}]
    # Not the method of the instance, which schedulers replace, and without the hooks that torch wraps around it.
    step = inspect.unwrap(type(optimizer).step)
    norms = []
    with torch.random.fork_rng([like.device] if like.device.type == "cuda" else []), torch.no_grad():
        for number in range(1, steps + 1):
            before = parameter.clone()
            parameter.grad = torch.full_like(parameter, size)
            step(probe)
            if number in (1, _SETTLED, _LAST):
                norms.append(float((parameter - before).norm()))
    return norms


def _copy_without_state(optimizer: Optimizer) -> Optimizer:
    """An optimizer with copies of all attributes but parameters, state and what is called, which leads to others.

    It has no hooks, but the places for them: torch looks there when a step calls ``super().step()``.
    """
    attributes: dict[str, Any] = {
        name: OrderedDict() if name.endswith("_hooks") else value
        for name, value in vars(optimizer).items()
        if name not in ("state", "param_groups")
    }
    called = {name: value for name, value in attributes.items() if callable(value)}
    own = {id(parameter): parameter for group in optimizer.param_groups for parameter in group["params"]}
    copied = copy.deepcopy({name: value for name, value in attributes.items() if name not in called}, own)
    # copy.copy would change the state that both share (Optimizer.__setstate__).
    probe: Optimizer = object.__new__(type(optimizer))
    vars(probe).update(called, **copied)
    return probe
