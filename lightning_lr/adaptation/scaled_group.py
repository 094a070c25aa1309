"""Groups of an optimizer whose learning rates have one scale: what is known of them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from torch import Tensor

from lightning_lr.adaptation.flat_params import Piece
from lightning_lr.adaptation.rules import Alignment, Rule, Situation, Trend

_UNKNOWN = Alignment(0.0, 0.0, 0.0)

_CEILING = 0.5  # of a learning rate with which training has diverged: it is not tried again
_OF_LATE = 0.98  # a step, by which the highest learning rate of a schedule is forgotten
_SAVED = "own", "highest", "direction", "steady", "steps", "peak", "proven", "ceiling", "is_started"


@dataclass
class Unit:
    """Groups of an optimizer that have one scale.

    Attributes:
        rule: by which the scale adapts.
        pieces: where its parameters are.
        known: parameters in these.
        own: the learning rate that the schedule said when it was last seen to move.
        highest: of these learning rates, of late.
        direction: 1 if it has moved up then, -1 if down.
        steady: steps since then; infinite before it has.
        steps: that were adapted to.
        peak: highest learning rate since the mean of iterates was begun.
        proven: highest learning rate that training has stood so far; 0 if not known.
        ceiling: of the learning rate.
        alignment: the latest.
        is_started: or the first step is still to come, and is to be short.
    """

    rule: Rule
    pieces: list[Piece] = field(default_factory=list)
    known: set[Tensor] = field(default_factory=set)
    own: float = 0.0
    highest: float = 0.0
    direction: Literal[-1, 1] = 1
    steady: float = math.inf
    steps: int = 0
    peak: float = 0.0
    proven: float = 0.0
    ceiling: float = math.inf
    alignment: Alignment = _UNKNOWN
    is_started: bool = True

    @property
    def has_gradients(self) -> bool:
        """Whether any of its parameters has one."""
        return any(parameter.grad is not None for piece in self.pieces for parameter in piece.parameters)

    def follow_schedule(self, own: float, steps: int) -> None:
        """Take the learning rate that the schedule said for the latest of some steps, 0 if it is not known."""
        if own == 0 or math.isclose(own, self.own, rel_tol=1e-6):  # it may have been a float32, times its scale
            self.steady += steps
        else:
            self.steady = 0 if self.own else math.inf
            self.direction = 1 if own > self.own else -1
            self.own = own
        self.highest = max(self.own, self.highest * _OF_LATE**steps)

    def adapt(self, rate: float, steps: int, horizon: float, loss: Trend) -> None:
        """Let the rule take the latest alignment. A schedule that has moved within the horizon counts as one."""
        self.steps += steps
        schedule = self.direction if self.steady < horizon else 0
        self.rule.update(self.alignment, rate, steps, Situation(schedule, loss, self.steps / max(horizon, 1.0)))
        if self.own > 0:
            self.rule.scale = min(self.rule.scale, self.ceiling / self.own)

    def scale_on(self, own: float, growth: float) -> float:
        """The scale where a schedule says a learning rate: below the ceiling, and no more than a factor beyond what
        training has stood, so that a schedule does not get there faster than the rule may."""
        most = min(self.ceiling, self.proven * growth or math.inf)
        return min(self.rule.scale, most / own) if own > 0 else self.rule.scale

    def grow(self, factor: float) -> None:
        """Take in groups with a learning rate that is higher by a factor, which is not the schedule's work."""
        self.own, self.highest, self.peak = self.own * factor, self.highest * factor, self.peak * factor
        self.proven, self.ceiling = self.proven * factor, self.ceiling * factor

    def gone_astray(self, own: float, rule: Rule, *, is_to_blame: bool) -> None:
        """Go on with a smaller scale and a new rule, since training has diverged, where a schedule says a rate now.

        The rate that led astray is the highest of late: training has been astray for some steps when it shows.
        """
        highest = max(own, self.highest)
        if is_to_blame and highest > 0:
            self.ceiling = _CEILING * self.rule.scale * highest
        rule.scale, rule.turns = 0.3 * self.rule.scale, self.rule.turns + 3
        self.rule = rule
        self.proven = self.rule.scale * own
        self.peak, self.alignment = 0.0, _UNKNOWN

    def state(self) -> dict[str, Any]:
        """For a checkpoint, in plain numbers."""
        rule = asdict(self.rule)  # type: ignore[call-overload]
        return {"rule": rule, "alignment": list(self.alignment), **{name: getattr(self, name) for name in _SAVED}}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        for name, value in state["rule"].items():
            if name != "beta":  # an argument, and the new one holds
                setattr(self.rule, name, value)
        self.alignment = Alignment(*state["alignment"])
        for name in _SAVED:
            setattr(self, name, state[name])
