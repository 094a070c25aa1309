"""Read, set and name the parameter groups of optimizers and their learning rates.

A group's ``lr`` is a float or, for capturable and compiled optimizers, a tensor. A tensor is filled in place and never
replaced, because a captured graph or a compiled step refers to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch.optim import Optimizer

ParamGroup = dict[str, Any]


def get_lr(group: ParamGroup) -> float:
    """The learning rate of a group as a float. If it is a tensor on a device, this waits for the device."""
    return float(group["lr"])


def effective_lr(group: ParamGroup) -> float | torch.Tensor | None:
    """The learning rate in effect of an optimizer that adapts it itself; None for any other.

    Prodigy and D-Adaptation use d · lr, with an estimate d that they keep in the group. A step uses d and then updates
    it, so after a step this is the rate of the next one. Schedule-free optimizers keep their warmed-up learning rate as
    ``scheduled_lr``.

    >>> effective_lr({"lr": 1.0, "d": 0.25}), effective_lr({"lr": 0.5, "scheduled_lr": 0.125})
    (0.25, 0.125)
    """
    if "d" in group:
        lr: float | torch.Tensor = group["d"] * group["lr"]
        return lr
    return group.get("scheduled_lr")


def set_lr(group: ParamGroup, lr: float) -> None:
    """Set the learning rate of a group; a tensor is filled in place."""
    set_value(group, "lr", lr)


def set_value(group: ParamGroup, key: str, value: float) -> None:
    """Set one hyperparameter of a group; a tensor is filled in place."""
    if isinstance(group.get(key), torch.Tensor):
        group[key].fill_(value)
    else:
        group[key] = value


def set_momentum(group: ParamGroup, value: float) -> None:
    """Set the momentum of a group, or the first of its betas.

    >>> group = {"betas": (0.9, 0.999)}
    >>> set_momentum(group, 0.85)
    >>> group
    {'betas': (0.85, 0.999)}
    """
    if "betas" not in group:
        set_value(group, "momentum", value)
    elif isinstance(group["betas"][0], torch.Tensor):
        group["betas"][0].fill_(value)
    else:
        group["betas"] = (value, *group["betas"][1:])


def optimizer_names(optimizers: Sequence[Optimizer]) -> list[str]:
    """One name for each optimizer: its class, with a number from the second one of a class.

    >>> a, b, c = (cls([torch.zeros(1)], lr=0.1) for cls in (torch.optim.SGD, torch.optim.Adam, torch.optim.SGD))
    >>> optimizer_names([a, b, c])
    ['SGD', 'Adam', 'SGD-1']
    """
    names: list[str] = []
    for optimizer in optimizers:
        name = type(optimizer).__name__
        seen = sum(other == name or other.startswith(f"{name}-") for other in names)
        names.append(f"{name}-{seen}" if seen else name)
    return names


def group_names(optimizer: Optimizer) -> list[str]:
    """The name of each group: its ``"name"`` if it has one, else ``pg1``, ``pg2``, ... Groups may share a name."""
    return [str(group.get("name", f"pg{i}")) for i, group in enumerate(optimizer.param_groups, start=1)]


def unique_group_names(optimizer: Optimizer) -> list[str]:
    """`group_names` for logs, where each group needs its own: with a number from the second one of a name.

    >>> groups = [{"params": [torch.zeros(1)], "name": name} for name in ("decay", "decay", "bias", "decay")]
    >>> unique_group_names(torch.optim.SGD(groups))
    ['decay', 'decay-1', 'bias', 'decay-2']
    """
    names: dict[str, None] = {}  # in their order
    numbers: Counter[str] = Counter()
    for name in group_names(optimizer):
        unique = name
        while unique in names:
            numbers[name] += 1
            unique = f"{name}-{numbers[name]}"
        names[unique] = None
    return list(names)


def has_lr(optimizer: Optimizer) -> bool:
    """Whether any group has a learning rate. An optimizer of one's own may go without."""
    return any("lr" in group for group in optimizer.param_groups)


def initial_lr(group: ParamGroup) -> float:
    """The learning rate that a user gave a group: ``initial_lr`` if a scheduler has stored it there, else ``lr``."""
    return float(group["initial_lr"] if "initial_lr" in group else group.get("lr", 0.0))


def lr_ratios(optimizers: Sequence[Optimizer]) -> list[tuple[ParamGroup, float]]:
    """Every group that has a learning rate, of all optimizers, with its rate divided by the highest of them.

    >>> slow, fast = {"params": [torch.zeros(1)], "lr": 0.25}, {"params": [torch.zeros(1)], "lr": 0.5}
    >>> [ratio for _, ratio in lr_ratios([torch.optim.SGD([slow, fast])])]
    [0.5, 1.0]

    Raises:
        ValueError: if no group has a learning rate above 0.
    """
    groups = [group for optimizer in optimizers for group in optimizer.param_groups if "lr" in group]
    highest = max((initial_lr(group) for group in groups), default=0.0)
    if highest <= 0:
        raise ValueError(
            "No parameter group has a learning rate above 0: return an optimizer with lr > 0 from configure_optimizers."
        )
    return [(group, initial_lr(group) / highest) for group in groups]
