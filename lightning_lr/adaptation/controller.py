"""The adaptation of one optimizer's learning rates: what is measured before its steps, and what follows from it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from lightning_lr.adaptation.alignment import alignment_sums
from lightning_lr.adaptation.displacement import FromMean, Movement
from lightning_lr.adaptation.first_step import shorten_first_step
from lightning_lr.adaptation.flat_params import pieces
from lightning_lr.adaptation.last_step import LastStep
from lightning_lr.adaptation.reset import OptimizerReset
from lightning_lr.adaptation.rules import Alignment, Rule, Trend
from lightning_lr.adaptation.scaled_group import Unit
from lightning_lr.optimizers.scaled_lrs import ScaledRates

Every = int | Literal["auto"]

_SETTLED_TURNS = 8
_SPARSE_STEPS = 5
_FALLEN = 0.3  # of the highest learning rate since the mean was begun, which then is of another time
_GROWTH = 0.1 + 1e-9  # of the log of a learning rate: as of the rule, but for rounding
_MOST_VOID_STEPS = 10  # that lead nowhere, before the first one that does not

_TOO_SHORT = Alignment(1.0, 1.0, 1.0)  # of steps so short that the parameters stay as they are


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
        every: steps from one measurement to the next; ``"auto"``: 1 until the rate has settled, then 5.
        reset: takes the optimizer's state back to its beginning; by default, to what it is now.
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
        reset: OptimizerReset | None = None,
        world_size: int = 1,
        reduce: Callable[[Tensor], Tensor] = lambda values: values,
    ) -> None:
        self.optimizer = optimizer
        self.rates = ScaledRates(optimizer)
        self.units: list[Unit] = []
        self.steps = 0  # that were begun
        self.unknown = 0  # measurements whose gradients were not finite
        self.holds_mean = False  # the iterates are not to be trusted: the mean, to which one can go back, stays
        self._make_rule, self._adapts, self._per_group, self._every = make_rule, adapts, per_group, every
        self._reset = OptimizerReset(optimizer) if reset is None else reset
        self._world_size, self._reduce = world_size, reduce
        self._mean = None if horizon is None else FromMean(horizon)
        one_step = LastStep(optimizer) if type(optimizer) in LastStep.KINDS else FromMean(1)
        self._movement: Movement = one_step if self._mean is None else self._mean
        self._horizon = 0.0 if horizon is None else horizon
        self._device = next(iter(self._parameters())).device
        self._void = 0  # steps before the first that have led nowhere
        self._since = 0  # steps since the last measurement
        self._used: list[tuple[float | Tensor, float]] = []  # learning rate and scale of each unit in the last step
        self._measured: deque[tuple[Tensor, dict[str, Any]]] = deque()
        self._covered = 0  # groups
        self._cover()

    def before_step(self, loss_scale: Tensor | None = None) -> None:
        """To be called before each step of the optimizer, when the gradients are there.

        Args:
            loss_scale: by which the gradients are still multiplied, in mixed precision; None if by nothing.
        """
        self.settle()
        self.steps += 1
        self._since += 1
        if self._since >= self._spacing() or not self._used:
            self._measure(loss_scale)
            self._since = 0
        elif self._mean is None and self._since == self._spacing() - 1:
            for piece in (piece for unit in self.units for piece in unit.pieces):
                self._movement.before_step(piece, None)  # the next step is the one that is looked back to

    def after_step(self) -> None:
        """To be called after each step of the optimizer, before anything sets the learning rate of the next."""
        if self._since >= self._spacing() - 1:
            self._movement.after_step()
        for unit in self.units:
            if not unit.is_started and unit.has_gradients:
                self._shorten_first_step(unit)
        self._used = [(self._rate_of(unit), self.rates.scales[i]) for i, unit in enumerate(self.units)]
        if self._mean is not None and self._adapts:
            for unit, (rate, _) in zip(self.units, self._used, strict=True):
                unit.proven = 0.0 if _is_on_device(rate) else max(unit.proven, float(rate))

    def measured(self) -> Iterator[tuple[Tensor, dict[str, Any]]]:
        """The sums that each `before_step` since the last time has measured, shape [4 · units], to be summed over
        processes, and what belongs to them."""
        while self._measured:
            yield self._measured.popleft()

    def decide(self, sums: list[float], beside: dict[str, Any], loss: Trend = "level") -> list[bool]:
        """Adapt, when what was measured and how the loss goes is known. Gives whether each unit has a new alignment."""
        rows = [sums[i : i + 4] for i in range(0, len(sums), 4)]
        self.unknown += any(not math.isfinite(square) for _, square, _, _ in rows)
        steps, news = beside["steps"], []
        for unit, (dot, square, moved, on_device), (rate, scale) in zip(self.units, rows, beside["used"], strict=False):
            rate = rate or on_device
            unit.follow_schedule(rate / scale if scale > 0 else 0.0, steps)
            alignment = Alignment(dot, math.sqrt(square), math.sqrt(moved))
            news.append(self._decide(unit, alignment, rate, steps, loss))
        self.write()
        return news

    def _decide(self, unit: Unit, alignment: Alignment, rate: float, steps: int, loss: Trend) -> bool:
        if rate > 0 and alignment.gradient_norm > 0 and alignment.movement_norm == 0:
            alignment = _TOO_SHORT
        if not alignment.is_known:
            return False
        unit.alignment = alignment
        if self._adapts:
            unit.adapt(rate, steps, self._horizon, loss)
        unit.peak = max(unit.peak, rate)
        if self._mean is not None and rate < _FALLEN * unit.peak:
            unit.peak = rate
            for piece in unit.pieces:
                self._mean.begin_anew(piece)
        return True

    def go_back(self, *, rate_is_to_blame: bool = True) -> None:
        """Set the parameters to the mean of the good iterates, with the optimizer as it was in the beginning, and go
        on with a smaller scale. The learning rate stays below half of the one that led astray if that is to blame,
        which a bad batch is not."""
        assert self._mean is not None
        for unit, own in zip(self.units, self._own(), strict=True):
            for piece in unit.pieces:
                self._mean.go_back(piece)
            unit.gone_astray(own, self._make_rule(), is_to_blame=rate_is_to_blame)
        self.holds_mean = False
        self._measured.clear()
        self._reset()
        self.write()

    def restart(self) -> None:
        """Begin anew, with a scale of 1, from learning rates that are known to be good."""
        self.units.clear()
        self._cover()
        for unit in self.units:
            unit.is_started = True
        if self._mean is not None:
            self._mean.forget()
        self._measured.clear()
        self._used = []
        self.holds_mean = False
        self.write()

    def settle(self) -> None:
        """Set the learning rates of the coming step, when the schedule is known to have set its own."""
        self.write()
        for i, unit in enumerate(self.units):
            unit.rule.scale = self.rates.scales[i]

    def write(self) -> None:
        """Set the learning rates of the coming step."""
        self.rates.take()
        if len(self.rates.scales) > self._covered:
            self._cover()
        growth = math.exp(_GROWTH * math.sqrt(self._spacing())) if self.units else 1.0
        scales = [unit.scale_on(own, growth) for unit, own in zip(self.units, self._own(), strict=True)]
        for i in range(self._covered):
            self.rates.scales[i] = scales[i if self._per_group else 0]
        self.rates.write()

    def state(self, with_vectors: bool) -> dict[str, Any]:
        """For a checkpoint: plain numbers, and vectors of the size of the parameters if wanted."""
        positions = {parameter: i for i, parameter in enumerate(self._parameters())}
        return {
            "own": self.rates.own(),
            "units": [unit.state() for unit in self.units],
            "unknown": self.unknown,
            "since": self._since,
            "used": [(float(rate), scale) for rate, scale in self._used],
            "movement": self._movement.state(positions) if with_vectors else None,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.load_own(state)
        self.load_units(state)
        self.unknown, self._since, self._used = state["unknown"], state["since"], list(state["used"])
        if state["movement"] is not None:
            pieces_of_all = [piece for unit in self.units for piece in unit.pieces]
            self._movement.load_state(state["movement"], self._parameters(), pieces_of_all)
        self.write()

    def load_own(self, state: dict[str, Any]) -> None:
        """Take the groups to hold scaled learning rates, as they do when the optimizer's own state was loaded."""
        self.rates = ScaledRates(self.optimizer, state["own"])

    def load_units(self, state: dict[str, Any]) -> None:
        """Go on with what was learned of the learning rates, and with nothing else."""
        if len(self.units) != len(state["units"]):
            return  # groups that another fit has added are not here
        for unit, saved in zip(self.units, state["units"], strict=True):
            unit.load_state(saved)
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
                self.units.append(Unit(self._make_rule(), is_started=self._mean is None or not self._adapts))
                self.units[i].rule.scale = self.units[0].rule.scale
            unit = self._unit_of(i)
            if i >= self._covered > 0:
                self._join(unit, i)
            if any(parameter.requires_grad and parameter not in unit.known for parameter in group["params"]):
                unit.pieces += pieces(group, self._world_size, unit.known)
                unit.known.update(parameter for parameter in group["params"] if parameter.requires_grad)
        self._covered = len(self.optimizer.param_groups)

    def _join(self, unit: Unit, i: int) -> None:
        """Let what is known of learning rates hold for a group that was added, with one of its own."""
        own = self.rates.own()
        if self._per_group:
            unit.ceiling = self.units[0].ceiling * own[i] / own[0] if own[0] > 0 else math.inf
        elif own[i] > (highest := max(own[:i])) > 0:
            unit.grow(factor := own[i] / highest)
            self._used = [(rate * factor, scale) for rate, scale in self._used]

    def _own(self) -> list[float]:
        """The highest learning rate that a schedule says for each unit's groups; the latest known if it is on a device,
        which is not waited for."""
        if any(_is_on_device(group["lr"]) for group in self.optimizer.param_groups):
            return [unit.own for unit in self.units]
        own = self.rates.own()
        return own if self._per_group else [max(own)]

    def last_rates(self) -> list[float]:
        """The highest learning rate of each unit's groups in the last step, or in the first if that is to come."""
        return [float(rate) for rate, _ in self._used] or [float(self._rate_of(unit)) for unit in self.units]

    def _rate_of(self, unit: Unit) -> float | Tensor:
        """The highest learning rate of a unit's groups."""
        rates = [group["lr"] for i, group in enumerate(self.optimizer.param_groups) if self._unit_of(i) is unit]
        if not any(isinstance(rate, Tensor) for rate in rates):
            return float(max(rates))
        return torch.stack([torch.as_tensor(rate, dtype=torch.float32).detach() for rate in rates]).max()

    @torch.no_grad()
    def _measure(self, loss_scale: Tensor | None) -> None:
        self._cover()
        used = [*self._used, *[(0.0, 1.0)] * (len(self.units) - len(self._used))]
        rows = [self._sums(unit, rate, loss_scale) for unit, (rate, _) in zip(self.units, used, strict=True)]
        numbers = [(0.0 if isinstance(rate, Tensor) else rate, scale) for rate, scale in used]
        self._measured.append((torch.cat(rows), {"used": numbers, "steps": self._since}))

    def _sums(self, unit: Unit, rate: float | Tensor, loss_scale: Tensor | None) -> Tensor:
        """``⟨g, d⟩``, ``‖g‖²``, ``‖d‖²`` over a unit, and its learning rate if that is a tensor; shape [4]."""
        sums = alignment_sums(unit.pieces, self._movement, self._since, self._device, is_trusted=not self.holds_mean)
        if loss_scale is not None:
            sums = sums / torch.stack([loss_scale, loss_scale**2, torch.ones_like(loss_scale)]).to(sums)
        known = (rate / self._world_size).to(sums) if isinstance(rate, Tensor) else sums.new_zeros(())
        return torch.cat([sums, known.reshape(1)])

    def _shorten_first_step(self, unit: Unit) -> None:
        assert self._mean is not None
        share = shorten_first_step(unit.pieces, self._mean, self._reduce, self._device)
        if share is None:
            return
        if share > 0:
            unit.is_started = True
            unit.rule.scale *= share
            self.write()
            return
        self._reset()  # the next step is the first
        self._void += 1
        if self._void == _MOST_VOID_STEPS:
            raise RuntimeError(
                f"HypergradientLR: the first {self._void} steps of {type(self.optimizer).__name__} have all led to"
                " parameters that are not finite: look for gradients that are not."
            )


def _is_on_device(rate: float | Tensor) -> bool:
    """Whether a learning rate cannot be read without a wait."""
    return isinstance(rate, Tensor) and rate.device.type != "cpu"
