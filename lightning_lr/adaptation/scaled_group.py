"""Parameter groups that share one scale, and what is known of their learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from lightning_lr.adaptation import checkpoint_keys, constants
from lightning_lr.adaptation.flat_params import FlatParams
from lightning_lr.adaptation.rules import Alignment, LossState, Rule

_UNKNOWN = Alignment(0.0, 0.0, 0.0)
_STRAIGHT = Alignment(1.0, 1.0, 1.0)  # cosine 1


@dataclass
class ScaledGroup:
    """All groups of an optimizer, or one of them, with one scale of their scheduled learning rate.

    The learning rate that is used is ``scale · scheduled_lr``, or less: see `OptimizerScales`.

    Attributes:
        rule: adapts the scale.
        scale: factor of the scheduled learning rate, above 0.
        params: the parameters, flattened.
        known_params: the parameters in ``params``.
        scheduled_lr: learning rate set by the schedule, before scaling; the highest of the groups, 0 if not known.
        max_survived_lr: highest learning rate used so far without a divergence; 0 if not known.
        lr_ceiling: the learning rate that is never exceeded after a divergence.
        min_lr: the learning rate below which the rule does not go.
        max_lr: the learning rate that is never exceeded.
        max_change: factor of 1 within which the scale stays, up and down.
        alignment: the latest.
        has_started: false until the first step, which is shortened, has been made.
        has_moved: whether a step has been made since the anchor was set; without an anchor, whether the last step was
            made with gradients of the group. Else there is no alignment.
    """

    rule: Rule
    scale: float = 1.0
    params: list[FlatParams] = field(default_factory=list)
    known_params: set[Tensor] = field(default_factory=set)
    scheduled_lr: float = 0.0
    max_survived_lr: float = 0.0
    lr_ceiling: float = math.inf
    min_lr: float = 0.0
    max_lr: float = math.inf
    max_change: float = math.inf
    alignment: Alignment = _UNKNOWN
    has_started: bool = True
    has_moved: bool = False

    @property
    def has_gradients(self) -> bool:
        """Whether any of its parameters has a gradient."""
        return any(parameter.grad is not None for flat in self.params for parameter in flat.parameters)

    def follow_schedule(self, scheduled_lr: float) -> None:
        """Take the scheduled learning rate of the latest step; 0 if it is not known."""
        self.scheduled_lr = scheduled_lr or self.scheduled_lr

    def take_alignment(self, alignment: Alignment, lr: float) -> bool:
        """Take the alignment of a gradient and steps whose latest had this learning rate. Gives whether it is known."""
        if lr > 0 and alignment.gradient_norm > 0 and alignment.displacement_norm == 0:
            alignment = _STRAIGHT  # steps so short that rounding leaves the parameters as they are
        if alignment.is_known:
            self.alignment = alignment
        return alignment.is_known

    def adapt(self, lr: float, steps: int, loss: LossState) -> None:
        """Change the scale by the rule, for the latest alignment."""
        before = self.scale
        self.scale *= self.rule.update(self.alignment, lr, steps, loss)
        if self.scheduled_lr > 0:
            # a schedule may go below min_lr, and the scale does not rise against it
            self.scale = max(self.scale, min(before, self.min_lr / self.scheduled_lr))
            self.scale = min(self.scale, min(self.lr_ceiling, self.max_lr) / self.scheduled_lr)
        # a first step that was shortened may have taken the scale below 1 / max_change: no rise because of that
        self.scale = max(min(before, 1 / self.max_change), min(self.max_change, self.scale))

    def rescale_lrs(self, factor: float) -> None:
        """Multiply all known learning rates: a group with a higher one has joined, which is no move of a schedule."""
        self.scheduled_lr *= factor
        self.max_survived_lr *= factor
        self.lr_ceiling *= factor

    def after_divergence(self, scheduled_lr: float, rule: Rule, *, lr_is_cause: bool) -> None:
        """Continue with a smaller scale and a new rule.

        The ceiling is set from the highest learning rate that was used, since a divergence shows late. A second
        divergence does not raise it.

        Args:
            scheduled_lr: of the coming step.
            rule: a new one.
            lr_is_cause: whether the learning rate was too high, so that a ceiling is set.
        """
        highest_lr = max(self.max_survived_lr, self.scale * scheduled_lr)
        if lr_is_cause and highest_lr > 0:
            self.lr_ceiling = min(self.lr_ceiling, constants.LR_AFTER_DIVERGENCE * highest_lr)
        self.scale *= constants.LR_AFTER_DIVERGENCE
        rule.sign_changes = self.rule.sign_changes
        self.rule = rule
        self.max_survived_lr = self.scale * scheduled_lr
        self.alignment, self.has_moved = _UNKNOWN, False

    def state(self) -> dict[str, Any]:
        """For a checkpoint, in plain numbers."""
        rule = checkpoint_keys.save(self.rule, checkpoint_keys.RULE | checkpoint_keys.RULE_ARGUMENTS)
        return {
            "rule": {"scale": self.scale, **rule},
            "alignment": list(self.alignment),
            **checkpoint_keys.save(self, checkpoint_keys.SCALED_GROUP),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from what `state` gave."""
        self.scale = state["rule"]["scale"]
        checkpoint_keys.load(self.rule, state["rule"], checkpoint_keys.RULE)
        self.alignment = Alignment(*state["alignment"])
        checkpoint_keys.load(self, state, checkpoint_keys.SCALED_GROUP)
