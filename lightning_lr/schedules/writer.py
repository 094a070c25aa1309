"""The place of a schedule, written into the parameter groups of optimizers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from lightning_lr.optimizers.group_ratios import GroupRatios
from lightning_lr.optimizers.param_groups import group_names, set_lr, set_momentum, set_value
from lightning_lr.schedules.base import Place
from lightning_lr.schedules.bounds import Bounds

Range = tuple[float, float]


def checked_range(argument: str, given: Sequence[float], below: float) -> Range:
    """Limits as a user gives them.

    >>> checked_range("momentum", [0.85, 0.95], below=1.0)
    (0.85, 0.95)

    Raises:
        ValueError: unless they are two finite numbers, the lower one first, at least 0 and less than ``below``.
    """
    numbers = isinstance(given, Sequence) and len(given) == 2 and all(isinstance(each, Real) for each in given)
    if not numbers or not 0 <= given[0] <= given[1] < below:
        limit = "" if math.isinf(below) else f", both below {below:g}"
        raise ValueError(f"{argument} must be two numbers of at least 0, the lower one first{limit}, got {given!r}.")
    return float(given[0]), float(given[1])


def against(limits: Range, height: float) -> float:
    """A value that moves against the learning rate: the highest at its bottom.

    >>> against((0.85, 0.95), 0.0), against((0.85, 0.95), 1.0)
    (0.95, 0.85)
    """
    low, high = limits
    return high - (high - low) * height


class ScheduledGroups:
    """Sets learning rate, momentum and weight decay of every group. Groups keep their ratios, added ones too.

    Args:
        optimizers: to be driven.
        bounds: of the learning rates; None as long as they are not known, and nothing is written.
        momentum: lowest and highest; None leaves it alone.
        weight_decay: likewise. A group keeps its ratio to the highest one, so one without stays without.
        saved: `state` of the same optimizers before.

    Raises:
        ValueError: if the bounds are not those of the groups.
    """

    def __init__(
        self,
        optimizers: Sequence[Optimizer],
        bounds: Bounds | None,
        momentum: Range | None = None,
        weight_decay: Range | None = None,
        saved: dict[str, Any] | None = None,
    ) -> None:
        self._optimizers = optimizers
        self._momentum, self._weight_decay = momentum, weight_decay
        # the groups that an optimizer began with: those that come later have no bounds of their own
        self._begun = saved["begun"] if saved else [len(optimizer.param_groups) for optimizer in optimizers]
        self._lr_ratios = GroupRatios("lr", optimizers, saved["lr"] if saved else None)
        self._decay_ratios: GroupRatios | None = None
        if weight_decay is not None:
            self._decay_ratios = GroupRatios("weight_decay", optimizers, saved["weight_decay"] if saved else None)
        self.set_bounds(bounds)

    def set_bounds(self, bounds: Bounds | None) -> None:
        """Use these from the next writing on."""
        if bounds is not None:
            begun = zip(self._optimizers, self._begun, strict=True)
            bounds.check_groups([name for optimizer, number in begun for name in group_names(optimizer)[:number]])
        self._bounds = bounds
        self._bounds_of: list[list[Range]] = [[] for _ in self._optimizers]  # each group of each optimizer

    def write(self, i: int, place: Place) -> None:
        """Set the values of one optimizer."""
        if self._bounds is None:
            return
        groups = self._optimizers[i].param_groups
        if len(self._bounds_of[i]) != len(groups):  # at first, and when unfreezing has added one
            self._bounds_of[i] = self._bounds_of_groups(i)
        height = place.height
        for group, (low, high) in zip(groups, self._bounds_of[i], strict=True):
            lr = place.between(low, high)
            if isinstance(group["lr"], Tensor):
                set_lr(group, lr)
            else:  # what nearly all do, without two calls a step
                group["lr"] = lr
        if self._momentum is not None:
            momentum = against(self._momentum, height)
            for group in groups:
                set_momentum(group, momentum)
        if self._weight_decay is not None and self._decay_ratios is not None:
            decay = against(self._weight_decay, height)
            ratios = self._decay_ratios.of(i, groups, self._weight_decay[1])
            for group, ratio in zip(groups, ratios, strict=True):
                set_value(group, "weight_decay", decay * ratio)

    def state(self) -> dict[str, Any]:
        """What another one needs to go on."""
        decay = self._decay_ratios
        return {
            "begun": list(self._begun),
            "lr": self._lr_ratios.plain(),
            "weight_decay": None if decay is None else decay.plain(),
        }

    def _bounds_of_groups(self, i: int) -> list[Range]:
        assert self._bounds is not None
        groups, first, begun = self._optimizers[i].param_groups, sum(self._begun[:i]), self._begun[i]
        ratios = self._lr_ratios.of(i, groups, self._bounds.highest)
        names = group_names(self._optimizers[i])
        bounds = [self._bounds.of(first + j, names[j], ratios[j]) for j in range(begun)]
        fastest = ratios.index(max(ratios[:begun]))
        for ratio in ratios[begun:]:  # in proportion to the fastest
            share = ratio / ratios[fastest]
            bounds.append((bounds[fastest][0] * share, bounds[fastest][1] * share))
        return bounds
