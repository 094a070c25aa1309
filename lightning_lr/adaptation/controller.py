"""Measures before the steps of one optimizer, and adapts its learning rates."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from lightning_lr.adaptation import checkpoint_keys, constants
from lightning_lr.adaptation.decay import FinalDecay
from lightning_lr.adaptation.displacement import AnchorDisplacement, Displacement, alignment_sums, all_finite
from lightning_lr.adaptation.first_step import FirstStep
from lightning_lr.adaptation.flat_params import FlatParams
from lightning_lr.adaptation.last_step import last_step_displacement
from lightning_lr.adaptation.measurement import Measurement, UsedLR
from lightning_lr.adaptation.optimizer_scales import OptimizerScales
from lightning_lr.adaptation.reset import OptimizerReset
from lightning_lr.adaptation.rules import UNKNOWN_LOSS, Alignment, LossState, Rule

Every = int | Literal["auto"]


class LRController:
    """Adapts the learning rates of one optimizer.

    Around each of its steps: `before_step`, when the gradients are there; `after_step`; and, when what
    `before_step` has measured has been read, `decide`.

    Args:
        optimizer: whose learning rates are adapted.
        make_rule: makes a new rule.
        horizon: of the anchor; None if the displacement is that of the last step.
        adapts: false to measure only.
        per_group: whether each parameter group has a scale; else all of the optimizer have one.
        every: steps from one measurement to the next; ``"auto"``: 1 until the learning rate has settled, then more.
        reset: resets the state of the optimizer; by default, to what it is now.
        world_size: number of processes that train together.
        min_lr: learning rate below which the rule does not go.
        max_lr: learning rate that is never exceeded.
        decay: fall of the learning rate at the end, in which the scales stay; None for none.
        freeze_after: steps after which the scales stay.
        steps: of this optimizer that were begun before.
        has_grad_scaler: whether a GradScaler skips steps whose gradients are not finite.
        loss_scale: gives the factor of the gradients, in mixed precision; None for 1.
        device: on which sums are computed if there are no parameters yet.

    Attributes:
        scales: of the learning rates.
        groups: that have a scale each.
        device: on which sums are computed, that of the first parameter.
        steps: begun so far.
        since: steps since the last measurement.
        measured: what this process has measured before steps; whoever reads it takes it out.
        not_finite: measurements with gradients that were not finite.
        adapts, has_grad_scaler, freeze_after: see above.
        adapts_until: the last step after which the scales change.
        adapts_by_anchor: whether it adapts, with an anchor to return to.
        keeps_anchor: whether the anchor stays where it is, since loss or gradient are far above what they were.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        make_rule: Callable[[], Rule],
        horizon: float | None = None,
        *,
        adapts: bool = True,
        per_group: bool = False,
        every: Every = "auto",
        reset: OptimizerReset | None = None,
        world_size: int = 1,
        min_lr: float = 0.0,
        max_lr: float = math.inf,
        decay: FinalDecay | None = None,
        freeze_after: float = math.inf,
        steps: int = 0,
        has_grad_scaler: bool = False,
        loss_scale: Callable[[], Tensor] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.optimizer = optimizer
        self.steps, self.not_finite, self.keeps_anchor = steps, 0, False
        self.since = 0
        self.measured: list[Measurement] = []
        self._decay = decay
        self.freeze_after = freeze_after
        self.adapts_until = freeze_after if decay is None else min(freeze_after, decay.start)
        self.adapts, self._every = adapts, every
        self._reset = OptimizerReset(optimizer) if reset is None else reset
        self._world_size, self.has_grad_scaler, self._loss_scale = world_size, has_grad_scaler, loss_scale
        self._anchor = None if horizon is None else AnchorDisplacement(horizon)
        self.adapts_by_anchor = adapts and self._anchor is not None
        self._displacement: Displacement = self._anchor or last_step_displacement(optimizer)
        self.device = device = next((parameter.device for parameter in self._parameters()), torch.device(device))
        self._first_step = None if self._anchor is None else FirstStep(optimizer, self._anchor, self._reset, device)
        self.scales = OptimizerScales(
            optimizer,
            make_rule,
            per_group=per_group,
            by_anchor=self.adapts_by_anchor,
            world_size=world_size,
            min_lr=min_lr,
            max_lr=max_lr,
        )
        self.groups = self.scales.groups

    def before_step(self) -> None:
        """To be called before each step of the optimizer, when the gradients are there."""
        self.write_if_due()
        self.steps += 1
        # here and not after the step, which a GradScaler may skip
        self.scales.is_due |= self._decay is not None and self.steps >= self._decay.start
        self.since += 1
        spacing = self._spacing()
        if self.since >= spacing or not self.scales.used:
            self.measured.append(self._measure())
            self.since = 0
        elif self._anchor is None and self.since == spacing - 1:
            for params in self._flat():
                self._displacement.begin(params)  # the displacement of the next step is measured

    def after_step(self) -> None:
        """To be called after each step of the optimizer, before anything sets the learning rate of the next."""
        if self._anchor is None and self.since >= self._spacing() - 1:
            self._displacement.after_step()
        for group in self.groups:
            if self._anchor is None or not (group.has_moved and group.has_started):
                has_gradients = group.has_gradients
                group.has_moved = has_gradients or (group.has_moved and self._anchor is not None)
                is_first = has_gradients and not group.has_started
                if self._first_step is not None and is_first and self._first_step.shorten(group):
                    self.write()
        self.scales.record_used()

    def decide(self, measurement: Measurement, loss: LossState = UNKNOWN_LOSS) -> list[bool]:
        """Adapt the scales.

        Args:
            measurement: one of `measured`, read and summed over processes.
            loss: what is known of the loss.

        Returns:
            Whether each scaled group has a new alignment.
        """
        sums = measurement.sums.tolist()
        self.not_finite += not all(map(math.isfinite, sums[1::4]))
        is_new = []
        for i, (group, used) in enumerate(zip(self.groups, measurement.used, strict=False)):
            dot, square, moved, device_lr = sums[4 * i : 4 * i + 4]
            lr = float(used.lr or device_lr)
            group.follow_schedule(lr / used.scale if used.scale > 0 else 0.0)
            is_new.append(group.take_alignment(Alignment(dot, math.sqrt(square), math.sqrt(moved)), lr))
            if is_new[-1] and self.adapts and self.steps <= self.adapts_until:
                group.adapt(lr, measurement.steps, loss)
        self.scales.is_due = True
        return is_new

    def return_to_anchor(self, *, lr_is_cause: bool = True) -> None:
        """Set the parameters to the anchor and the optimizer to its first state, and continue with smaller scales.

        Args:
            lr_is_cause: whether the learning rate was too high, so that it must stay below. A bad batch is no such
                cause.
        """
        assert self._anchor is not None
        for params in self._flat():
            self._anchor.restore(params)
        self.scales.after_divergence(lr_is_cause=lr_is_cause)
        self.keeps_anchor = False
        self._reset()
        self.write()

    def restart(self) -> None:
        """Begin again with scales of 1, from learning rates that are known to be good."""
        self.scales.restart()
        if self._anchor is not None:
            self._anchor.clear()
        self.keeps_anchor = False
        self.write()

    def write_if_due(self) -> None:
        """Set the learning rates of the coming step, if anything has changed since they were set."""
        if self.scales.lrs.take() or self.scales.is_due:
            self.write(is_final=True)

    def write(self, *, is_final: bool = False) -> None:
        """Set the learning rates of the coming step: see `OptimizerScales.write`."""
        # as fast as the rule may; 1e-9 for rounding
        max_growth = math.exp((constants.MAX_CHANGE_AT_START + 1e-9) * math.sqrt(self._spacing()))
        decay_factor = 1.0 if self._decay is None else self._decay.factor(self.steps)
        self.scales.write(max_growth, decay_factor, is_final=is_final)

    def state(self, with_vectors: bool) -> dict[str, Any]:
        """For a checkpoint: plain numbers, and vectors of the size of the parameters if wanted."""
        positions = {parameter: i for i, parameter in enumerate(self._parameters())}
        return {
            **self.scales.state(),
            **checkpoint_keys.save(self, checkpoint_keys.CONTROLLER),
            "movement": self._displacement.state(positions) if with_vectors else None,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from what `state` gave."""
        self.scales.load_state(state)
        checkpoint_keys.load(self, state, checkpoint_keys.CONTROLLER)
        if state["movement"] is not None:
            self._displacement.load_state(state["movement"], self._parameters(), self._flat())
        self.write()

    def load_groups(self, state: dict[str, Any]) -> None:
        """Take what was learned of the learning rates, and nothing else."""
        if self.scales.load_groups(state):
            self.write()

    def _parameters(self) -> list[Tensor]:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def _flat(self) -> list[FlatParams]:
        return [params for group in self.groups for params in group.params]

    def _spacing(self) -> int:
        """Steps from one measurement to the next."""
        if self._every != "auto":
            return self._every
        has_settled = min([group.rule.sign_changes for group in self.groups]) >= constants.GAIN_HALVING
        return constants.SETTLED_SPACING if has_settled or not self.adapts else 1

    @torch.no_grad()
    def _measure(self) -> Measurement:
        self.scales.add_new_params()
        is_trusted: bool | Tensor = not self.keeps_anchor
        if is_trusted and self.has_grad_scaler:  # a step that is skipped is none, for no anchor
            is_trusted = all_finite(self._flat(), self.device)
        loss_scale = None if self._loss_scale is None else self._loss_scale()
        rows, numbers = [], []
        for i, group in enumerate(self.groups):
            lr, scale = self.scales.used[i] if i < len(self.scales.used) else UsedLR(0.0, 1.0)
            sums = alignment_sums(group.params, self._displacement, self.since, self.device, is_trusted=is_trusted)
            if not group.has_moved:
                sums = torch.zeros_like(sums)  # nothing was measured: rules must not take d = 0 for an alignment
            if loss_scale is not None:
                sums = sums / torch.stack([loss_scale, loss_scale**2, torch.ones_like(loss_scale)]).to(sums)
            device_lr = (lr / self._world_size).to(sums).reshape(1) if isinstance(lr, Tensor) else sums.new_zeros(1)
            rows += [sums, device_lr]
            numbers.append(UsedLR(0.0 if isinstance(lr, Tensor) else lr, scale))
        return Measurement(torch.cat(rows), numbers, self.since)
