"""Writes the values of a schedule into the parameter groups of optimizers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from lightning_lr.optimizers.group_ratios import GroupRatios
from lightning_lr.optimizers.param_groups import group_names, set_momentum, set_value
from lightning_lr.schedules.base import Position
from lightning_lr.schedules.bounds import Bounds
from lightning_lr.schedules.inverse_range import InverseRange


class ScheduleWriter:
    """Sets learning rate, momentum and weight decay of every group. Groups keep their ratios, added groups too.

    Args:
        optimizers: whose groups are written.
        bounds: of the learning rates. While they are None, nothing is written.
        momentum: range of the momentum; None leaves it alone.
        weight_decay: range of the highest weight decay; None leaves it alone. A group without weight decay stays
            without.
        saved: `state` of the same optimizers, from a checkpoint.

    Raises:
        ValueError: if the bounds do not fit the groups.
    """

    def __init__(
        self,
        optimizers: Sequence[Optimizer],
        bounds: Bounds | None,
        momentum: InverseRange | None = None,
        weight_decay: InverseRange | None = None,
        saved: dict[str, Any] | None = None,
    ) -> None:
        self._optimizers = optimizers
        self._momentum, self._weight_decay = momentum, weight_decay
        # Groups that are added later take their bounds from these.
        self._initial_counts: list[int] = (
            saved["begun"] if saved else [len(optimizer.param_groups) for optimizer in optimizers]
        )
        self._lr_ratios = GroupRatios("lr", optimizers, saved["lr"] if saved else None)
        self._decay_ratios: GroupRatios | None = None
        if weight_decay is not None:
            self._decay_ratios = GroupRatios("weight_decay", optimizers, saved["weight_decay"] if saved else None)
        self.set_bounds(bounds)

    def set_bounds(self, bounds: Bounds | None) -> None:
        """Use these bounds from the next `write` on. If they do not fit the groups, nothing is changed.

        Raises:
            ValueError: if they do not fit.
        """
        # lower and upper learning rate of each group of each optimizer
        self._group_bounds = None if bounds is None else self._bounds_of_groups(bounds)
        self._highest_lr = 0.0 if bounds is None else bounds.highest_lr

    def write(self, optimizer_index: int, position: Position) -> None:
        """Set the values of one optimizer's groups."""
        if self._group_bounds is None:
            return
        groups = self._optimizers[optimizer_index].param_groups
        if len(self._group_bounds[optimizer_index]) != len(groups):
            self._add_new_groups(optimizer_index)
        # Position.lr and set_lr, without a call for each group: each would show in the cost of a step.
        low_weight, high_weight = position.base_factor - position.amplitude, position.amplitude
        for group, (low, high) in zip(groups, self._group_bounds[optimizer_index], strict=True):
            lr = low_weight * low + high_weight * high
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(lr)
            else:
                group["lr"] = lr
        if self._momentum is not None:
            momentum = self._momentum.at(position.amplitude)
            for group in groups:
                set_momentum(group, momentum)
        if self._weight_decay is not None and self._decay_ratios is not None:
            decay = self._weight_decay.at(position.amplitude)
            for group, ratio in zip(groups, self._decay_ratios[optimizer_index], strict=True):
                set_value(group, "weight_decay", decay * ratio)

    def state(self) -> dict[str, Any]:
        """The entries of a checkpoint that another writer takes as ``saved``."""
        return {
            "begun": list(self._initial_counts),  # the key of earlier checkpoints
            "lr": self._lr_ratios.state(),
            "weight_decay": None if self._decay_ratios is None else self._decay_ratios.state(),
        }

    def _bounds_of_groups(self, bounds: Bounds) -> list[list[tuple[float, float]]]:
        names: list[str] = []
        ratios: list[float] = []
        for i, (optimizer, count) in enumerate(zip(self._optimizers, self._initial_counts, strict=True)):
            names += group_names(optimizer)[:count]
            ratios += self._lr_ratios[i][:count]
        of_all = iter(bounds.for_groups(names, ratios))
        return [[next(of_all) for _ in range(count)] for count in self._initial_counts]

    def _add_new_groups(self, optimizer_index: int) -> None:
        """Give bounds to groups that were added to an optimizer, in proportion to its fastest initial group."""
        assert self._group_bounds is not None
        groups = self._optimizers[optimizer_index].param_groups
        self._lr_ratios.add_new_groups(optimizer_index, groups, self._highest_lr)
        if self._weight_decay is not None and self._decay_ratios is not None:
            self._decay_ratios.add_new_groups(optimizer_index, groups, self._weight_decay.high)
        bounds, ratios = self._group_bounds[optimizer_index], self._lr_ratios[optimizer_index]
        fastest = ratios.index(max(ratios[: self._initial_counts[optimizer_index]]))
        low, high = bounds[fastest]
        for ratio in ratios[len(bounds) :]:
            share = ratio / ratios[fastest]
            bounds.append((low * share, high * share))
