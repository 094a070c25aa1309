"""The adaptation of one optimizer's learning rates: what is measured before its steps, and what follows from it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Adagrad, Optimizer

from lightning_lr.flat_pieces import Piece, pieces
from lightning_lr.hypergradient import Alignment, Rule
from lightning_lr.last_step import LastStep
from lightning_lr.movement import FromMean
from lightning_lr.scaled_rates import ScaledRates

Every = int | Literal["auto"]

_SETTLED_TURNS = 8
_SPARSE_STEPS = 10
_FALLEN = 0.3  # of the highest learning rate since the mean was begun, which then is of another time
_FIRST_STEP = 1e-3  # of the length of all parameters


_UNKNOWN = Alignment(0.0, 0.0, 0.0)


@dataclass
class Unit:
    """Groups of an optimizer that have one scale."""

    rule: Rule
    pieces: list[Piece] = field(default_factory=list)
    known: set[Tensor] = field(default_factory=set)  # parameters in them
    peak: float = 0.0  # highest learning rate since the mean was begun
    alignment: Alignment = _UNKNOWN  # the latest


class Adaptation:
    """Adapts the learning rates of one optimizer.

    Around each of its steps: `before_step`, with the gradients there; `after_step`; and, once the numbers that
    `measured` gave are known, `decide`.

    Args:
        optimizer: whose learning rates are adapted.
        make_rule: a new rule, for a unit.
        horizon: of the mean of iterates that the rule looks back to; None if it looks back to the last step.
        adapts: false to measure only.
        per_group: whether each group is a unit of its own, or all groups of the optimizer are one.
        every: steps from one measurement to the next; ``"auto"``: 1 until the rate has settled, then 10.
        world_size: processes that train together.
        reduce: sums a tensor over them.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        make_rule: Callable[[], Rule],
        horizon: float | None,
        *,
        adapts: bool = True,
        per_group: bool = False,
        every: Every = "auto",
        world_size: int = 1,
        reduce: Callable[[Tensor], Tensor] = lambda values: values,
    ) -> None:
        self.optimizer = optimizer
        self.rates = ScaledRates(optimizer)
        self.units: list[Unit] = []
        self.steps = 0  # that were begun
        self.unknown = 0  # measurements whose gradients were not finite
        self._make_rule, self._adapts, self._per_group, self._every = make_rule, adapts, per_group, every
        self._world_size, self._reduce = world_size, reduce
        self._mean = None if horizon is None else FromMean(horizon)
        one_step = LastStep(optimizer) if type(optimizer) in LastStep.KINDS else FromMean(1)
        self._movement = one_step if self._mean is None else self._mean
        self._is_started = self._mean is None or not adapts
        self._since = 0  # steps since the last measurement
        self._used: list[float | Tensor] = []  # learning rate of each unit in the last step
        self._measured: tuple[Tensor, dict[str, Any]] | None = None
        self._covered = 0  # groups
        self._cover()

    def before_step(self, loss_scale: Tensor | None = None) -> None:
        """To be called before each step of the optimizer, when the gradients are there.

        Args:
            loss_scale: by which the gradients are still multiplied, in mixed precision; None if by nothing.
        """
        self.write()
        self.steps += 1
        self._since += 1
        if self._since >= self._spacing() or not self._used:
            self._measure(loss_scale)
            self._since = 0
        elif self._mean is None and self._since == self._spacing() - 1:
            for piece in (piece for unit in self.units for piece in unit.pieces):
                self._movement.before_step(piece, None, 1)  # the next step is the one that is looked back to

    def after_step(self) -> None:
        """To be called after each step of the optimizer, before anything sets the learning rate of the next."""
        if self._since >= self._spacing() - 1:
            self._movement.after_step()
        if not self._is_started:
            self._shorten_first_step()
        self._used = [self._rate(unit) for unit in self.units]

    def measured(self) -> tuple[Tensor, dict[str, Any]] | None:
        """The sums that the latest `before_step` has measured, shape [4 · units], to be summed over processes, and what
        belongs to them; once, None if it has not."""
        measured, self._measured = self._measured, None
        return measured

    def decide(self, sums: list[float], beside: dict[str, Any]) -> None:
        """Adapt, when what was measured is known."""
        for unit, dot, square, moved, rate, number in zip(
            self.units, *(sums[i::4] for i in range(4)), beside["rates"], strict=False
        ):
            alignment = Alignment(dot, math.sqrt(square), math.sqrt(moved))
            if not math.isfinite(alignment.gradient_norm):
                self.unknown += 1
            elif alignment.movement_norm != 0:
                used = rate if number is None else number
                unit.alignment = alignment
                if self._adapts:
                    unit.rule.update(alignment, used, beside["steps"])
                unit.peak = max(unit.peak, used)
                if self._mean is not None and used < _FALLEN * unit.peak:
                    unit.peak = used
                    for piece in unit.pieces:
                        self._mean.begin_anew(piece)
        self.write()

    def go_back(self) -> None:
        """Set the parameters to the mean of the good iterates, with the optimizer as it was in the beginning, and go
        on with smaller steps."""
        assert self._mean is not None
        for unit in self.units:
            for piece in unit.pieces:
                self._mean.go_back(piece)
            unit.rule.scale *= 0.3
            unit.rule.turns += 3
            unit.peak, unit.alignment = 0.0, _UNKNOWN
        self._measured = None
        _reset_state(self.optimizer)
        self.write()

    def restart(self) -> None:
        """Begin anew, with a scale of 1."""
        self.units.clear()
        self._cover()
        if self._mean is not None:
            self._mean.forget()
        self.write()

    def write(self) -> None:
        """Set the learning rates of the coming step."""
        self.rates.take()
        if len(self.rates.scales) > self._covered:
            self._cover()
        for i in range(self._covered):
            self.rates.scales[i] = self._unit_of(i).rule.scale
        self.rates.write()

    def state(self, with_vectors: bool) -> dict[str, Any]:
        """For a checkpoint: plain numbers, and vectors of the size of the parameters if wanted."""
        positions = {parameter: i for i, parameter in enumerate(self._parameters())}
        return {
            "own": self.rates.own(),
            "units": [
                {"rule": asdict(unit.rule), "peak": unit.peak, "alignment": list(unit.alignment)}  # type: ignore[call-overload]
                for unit in self.units
            ],
            "is_started": self._is_started,
            "unknown": self.unknown,
            "since": self._since,
            "used": [float(rate) for rate in self._used],
            "movement": self._movement.state(positions) if with_vectors else None,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.rates = ScaledRates(self.optimizer, state["own"])
        for unit, saved in zip(self.units, state["units"], strict=True):
            for name, value in saved["rule"].items():
                if name != "beta":  # an argument, and the new one holds
                    setattr(unit.rule, name, value)
            unit.peak, unit.alignment = saved["peak"], Alignment(*saved["alignment"])
        self._is_started, self.unknown, self._since = state["is_started"], state["unknown"], state["since"]
        self._used = list(state["used"])
        if state["movement"] is not None:
            self._movement.load_state(state["movement"], self._parameters())
        self.write()

    def _parameters(self) -> list[Tensor]:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def _spacing(self) -> int:
        """Steps from one measurement to the next."""
        if self._every != "auto":
            return self._every
        is_settled = min(unit.rule.turns for unit in self.units) >= _SETTLED_TURNS
        return _SPARSE_STEPS if is_settled or not self._adapts else 1

    def _unit_of(self, i: int) -> Unit:
        return self.units[i if self._per_group else 0]

    def _cover(self) -> None:
        """Take in groups that were added, and parameters that have become trainable."""
        for i, group in enumerate(self.optimizer.param_groups):
            if i == len(self.units) and (self._per_group or i == 0):
                self.units.append(Unit(self._make_rule()))
                self.units[i].rule.scale = self.units[0].rule.scale
            unit = self._unit_of(i)
            if any(parameter.requires_grad and parameter not in unit.known for parameter in group["params"]):
                unit.pieces += pieces(group, self._world_size, unit.known)
                unit.known.update(parameter for parameter in group["params"] if parameter.requires_grad)
        self._covered = len(self.optimizer.param_groups)

    def _rate(self, unit: Unit) -> float | Tensor:
        """The highest learning rate of a unit's groups."""
        rates = [group["lr"] for i, group in enumerate(self.optimizer.param_groups) if self._unit_of(i) is unit]
        if not any(isinstance(rate, Tensor) for rate in rates):
            return float(max(rates))
        return torch.stack([torch.as_tensor(rate, dtype=torch.float32).detach() for rate in rates]).max()

    @torch.no_grad()
    def _measure(self, loss_scale: Tensor | None) -> None:
        self._cover()
        rates = [*self._used, *[0.0] * (len(self.units) - len(self._used))]
        rows = [self._sums(unit, rate, loss_scale) for unit, rate in zip(self.units, rates, strict=True)]
        numbers = [None if isinstance(rate, Tensor) else rate for rate in rates]
        sums = torch.cat([row.to(rows[0].device) for row in rows])
        self._measured = sums, {"rates": numbers, "steps": self._since}

    def _sums(self, unit: Unit, rate: float | Tensor, loss_scale: Tensor | None) -> Tensor:
        """``⟨g, d⟩``, ``‖g‖²``, ``‖d‖²`` over a unit, and its learning rate if that is a tensor; shape [4]."""
        rows = []
        for piece in unit.pieces:
            movement = self._movement.of(piece)
            if movement is not None:
                gradient = piece.gradients()
                sums = torch.stack([gradient @ movement, gradient @ gradient, movement @ movement])
                rows.append(sums * piece.share)
            self._movement.before_step(piece, movement, self._since)
        total = torch.stack([row.to(rows[0]) for row in rows]).sum(0) if rows else torch.zeros(3)
        if loss_scale is not None:
            total = total / torch.stack([loss_scale, loss_scale**2, torch.ones_like(loss_scale)]).to(total)
        known = (rate / self._world_size).to(total) if isinstance(rate, Tensor) else total.new_zeros(())
        return torch.cat([total, known.reshape(1)])

    @torch.no_grad()
    def _shorten_first_step(self) -> None:
        """Let the first step have been so short that no learning rate to begin with does harm: at most 1e-3 of the
        length of the parameters, or of what it would be with elements of 1e-3."""
        assert self._mean is not None
        for unit in self.units:
            rows = []
            for piece in unit.pieces:
                movement = self._mean.of(piece)
                if movement is not None:
                    before = piece.values() + movement
                    count = before.new_tensor(float(len(before)))
                    rows.append(torch.stack([movement @ movement, before @ before, count]) * piece.share)
            if not rows:
                continue
            moved, length, count = self._reduce(torch.stack([row.to(rows[0].device) for row in rows]).sum(0)).tolist()
            if moved == 0:
                continue
            keep = 0.0  # of a step into the void nothing, and the next one is the first
            if math.isfinite(moved):
                self._is_started = True
                keep = min(1.0, _FIRST_STEP * math.sqrt(max(length, 1e-6 * count) / moved))
                unit.rule.scale *= keep
            if keep < 1:
                for piece in unit.pieces:
                    self._mean.go_back(piece, keep)
        self.write()


def _reset_state(optimizer: Optimizer) -> None:
    """Let an optimizer be as it was before its first step."""
    if isinstance(optimizer, Adagrad):  # the only one of torch's that makes its state at once
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                state = optimizer.state[parameter]
                state["step"].zero_()
                state["sum"].fill_(group["initial_accumulator_value"])
    else:
        optimizer.state.clear()
