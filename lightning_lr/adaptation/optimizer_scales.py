"""The scales of one optimizer's learning rates, and the one place that writes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lightning_lr.adaptation.flat_params import flat_params
from lightning_lr.adaptation.measurement import UsedLR
from lightning_lr.adaptation.rules import Rule
from lightning_lr.adaptation.scaled_group import ScaledGroup
from lightning_lr.optimizers.scaled_lrs import ScaledLRs


class OptimizerScales:
    """All scaled groups of an optimizer. It alone writes their learning rates.

    A scaled group has the scale that its rule has come to. What is written is that scale or less, since the learning
    rate is limited.

    Args:
        optimizer: whose learning rates are scaled.
        make_rule: makes a new rule, for each scaled group.
        per_group: whether each parameter group has a scale; else all of the optimizer have one.
        by_anchor: whether new groups begin with a shortened step, and a schedule raises the learning rate slowly.
        world_size: number of processes that train together.
        min_lr: learning rate below which no rule goes.
        max_lr: learning rate that is never exceeded.

    Attributes:
        groups: with a scale each.
        lrs: writes the learning rates.
        is_due: whether limits have to be applied to the learning rates before the coming step.
        used: learning rate and scale of each scaled group in the last step; empty before the first.
        used_decay_factor: that of the final decay in the last step.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        make_rule: Callable[[], Rule],
        *,
        per_group: bool,
        by_anchor: bool,
        world_size: int,
        min_lr: float = 0.0,
        max_lr: float = math.inf,
    ) -> None:
        self.optimizer = optimizer
        self.groups: list[ScaledGroup] = []
        self.lrs = ScaledLRs(optimizer, max_lr=max_lr)
        self.is_due = True
        self.used: list[UsedLR] = []
        self._min_lr, self._max_lr = min_lr, max_lr
        self._make_rule, self._per_group, self._world_size = make_rule, per_group, world_size
        self._by_anchor = by_anchor
        self._known_groups = 0
        self._decay_factor = self.used_decay_factor = 1.0
        self.add_new_params()
        self._read_scheduled_lrs()

    def write(self, max_growth: float, decay_factor: float, *, is_final: bool) -> None:
        """Set the learning rates of the coming step.

        Args:
            max_growth: factor by which a learning rate may exceed the maximum that training has survived.
            decay_factor: of all learning rates: see `FinalDecay`.
            is_final: whether no schedule moves before the step, so that the limited scales become the scales.
        """
        self.lrs.take()
        if len(self.lrs.scales) > self._known_groups:
            self.add_new_params()
        scales = []
        for group, scheduled_lr in zip(self.groups, self.scheduled_lrs(), strict=True):
            scale = limited_scale(group, scheduled_lr, max_growth)
            if is_final:
                group.scale = scale
            scales.append(scale * decay_factor)
        self.lrs.write(scales if self._per_group else scales * self._known_groups)
        self.is_due, self._decay_factor = not is_final, decay_factor

    def add_new_params(self) -> None:
        """Take in parameter groups that were added, and parameters that have become trainable."""
        for i, param_group in enumerate(self.optimizer.param_groups):
            if i == len(self.groups) and (self._per_group or i == 0):
                scale = self.groups[0].scale if self.groups else 1.0
                self.groups.append(self._new_group(scale))
            group = self.groups[i if self._per_group else 0]
            if i >= self._known_groups > 0:
                self._adjust_lrs(group, i)
            if new := [p for p in param_group["params"] if p.requires_grad and p not in group.known_params]:
                group.params += flat_params(param_group, self._world_size, group.known_params)
                group.known_params.update(new)
        self._known_groups = len(self.optimizer.param_groups)

    def restart(self) -> None:
        """Begin again with scales of 1, from learning rates that are known to be good."""
        max_change = self.groups[0].max_change
        self.groups.clear()
        self.add_new_params()
        for group in self.groups:
            group.has_started, group.max_change = True, max_change
        self.used = []
        self._read_scheduled_lrs()

    def after_divergence(self, *, lr_is_cause: bool) -> None:
        """Continue with smaller scales and new rules: see `ScaledGroup.after_divergence`."""
        for group, scheduled_lr in zip(self.groups, self.scheduled_lrs(), strict=True):
            group.after_divergence(scheduled_lr, self._make_rule(), lr_is_cause=lr_is_cause)

    def scheduled_lrs(self) -> list[float]:
        """The highest scheduled learning rate of each scaled group.

        If it is on a device, which is not waited for, the latest that is known.
        """
        for param_group in self.optimizer.param_groups:
            if is_on_device(param_group["lr"]):
                return [group.scheduled_lr for group in self.groups]
        scheduled = self.lrs.scheduled()
        return scheduled if self._per_group else [max(scheduled)]

    def record_used(self) -> None:
        """Note the learning rates and scales that a step has used."""
        self.used = []
        for i, group in enumerate(self.groups):
            lr = self._highest_lr(i)
            self.used.append(UsedLR(lr, self.lrs.scales[i]))
            if self._by_anchor:
                group.max_survived_lr = 0.0 if is_on_device(lr) else max(group.max_survived_lr, float(lr))
        self.used_decay_factor = self._decay_factor

    def reached_lrs(self) -> list[float]:
        """The highest learning rate of each scaled group in the last step, without the final decay.

        Before the first step, that of this one.
        """
        last = [float(lr) / self.used_decay_factor for lr, _ in self.used if self.used_decay_factor > 0]
        return last or [float(self._highest_lr(i)) for i in range(len(self.groups))]

    def state(self) -> dict[str, Any]:
        """For a checkpoint, in plain numbers."""
        return {
            "own": self.lrs.scheduled(),
            "units": [group.state() for group in self.groups],
            "used": [(float(lr), scale) for lr, scale in self.used],
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from what `state` gave."""
        self.load_scheduled_lrs(state)
        self.load_groups(state)
        self.used = [UsedLR(*used) for used in state["used"]]

    def load_scheduled_lrs(self, state: dict[str, Any]) -> None:
        """Take scheduled learning rates from a checkpoint. The groups hold scaled ones, from the same checkpoint."""
        self.lrs = ScaledLRs(self.optimizer, state["own"], max_lr=self._max_lr)

    def load_groups(self, state: dict[str, Any]) -> bool:
        """Take what was learned of the learning rates. False if the number of groups has changed: nothing is taken."""
        if len(self.groups) != len(state["units"]):
            return False
        for group, saved in zip(self.groups, state["units"], strict=True):
            group.load_state(saved)
        return True

    def _read_scheduled_lrs(self) -> None:
        """Wait for those on a device this once, so that the limits hold from the first step on.

        Others are read before each step. Before the first one a schedule has yet to set them.
        """
        if not any(is_on_device(param_group["lr"]) for param_group in self.optimizer.param_groups):
            return
        self.lrs.take()
        scheduled = self.lrs.scheduled()
        for i, group in enumerate(self.groups):
            group.scheduled_lr = scheduled[i] if self._per_group else max(scheduled)

    def _new_group(self, scale: float) -> ScaledGroup:
        max_change = self.groups[0].max_change if self.groups else math.inf
        return ScaledGroup(
            self._make_rule(),
            scale,
            has_started=not self._by_anchor,
            min_lr=self._min_lr,
            max_lr=self._max_lr,
            max_change=max_change,
        )

    def _highest_lr(self, i: int) -> float | Tensor:
        """Of a scaled group, as the optimizer holds it."""
        groups = self.optimizer.param_groups
        lrs = [each["lr"] for each in (groups[i : i + 1] if self._per_group else groups)]
        for lr in lrs:
            if isinstance(lr, Tensor):
                return torch.stack([torch.as_tensor(lr, dtype=torch.float32).detach() for lr in lrs]).max()
        return float(max(lrs))

    def _adjust_lrs(self, group: ScaledGroup, i: int) -> None:
        """Apply what is known of learning rates to parameter group i, which was added with another learning rate."""
        lrs = self.lrs.scheduled()
        if self._per_group:
            group.lr_ceiling = self.groups[0].lr_ceiling * lrs[i] / lrs[0] if lrs[0] > 0 else math.inf
        elif lrs[i] > (highest := max(lrs[:i])) > 0:
            factor = lrs[i] / highest
            group.rescale_lrs(factor)
            self.used = [UsedLR(lr * factor, scale) for lr, scale in self.used]


def limited_scale(group: ScaledGroup, scheduled_lr: float, max_growth: float) -> float:
    """The scale to use with a scheduled learning rate.

    Their product stays below the ceiling, and below ``max_growth`` times the maximum that training has survived:
    a schedule must not raise the learning rate faster than the rule may.
    """
    if scheduled_lr <= 0:
        return group.scale
    limit = min(group.lr_ceiling, group.max_lr, group.max_survived_lr * max_growth or math.inf)
    return min(group.scale, limit / scheduled_lr)


def is_on_device(lr: float | Tensor) -> bool:
    """Whether reading a learning rate would wait for a device."""
    return isinstance(lr, Tensor) and lr.device.type != "cpu"
