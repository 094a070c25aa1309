"""An optimizer whose learning rates adapt, in time: what is measured at one step is known after the next."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from lightning_lr.adaptation.async_reads import LateValues
from lightning_lr.adaptation.controller import Adaptation
from lightning_lr.adaptation.divergence import DivergenceWatch
from lightning_lr.adaptation.scaled_group import Unit
from lightning_lr.optimizers.param_groups import group_names
from lightning_lr.optimizers.step_counter import StepCounter

_MOST_RETURNS = 3
_ABOUT_RIGHT = 0.3  # the mean cosine of an epoch, beside the root of the mean square


class AdaptedOptimizer:
    """Brings an adaptation together with the loss, the watch for divergence, and the delay of a step.

    Args:
        name: of the optimizer, in logs and messages.
        adaptation: of its learning rates.
        reduce: sums a tensor over all processes.
        warn: told what has happened, in a sentence.
        mend: called after training was taken back, to mend what the optimizer does not hold.
        watches: whether the rule is told of the loss.
        guards: whether to go back when training has diverged.
        has_scaler: whether a GradScaler leaves out steps that are not finite, so that such a loss does no harm.
    """

    def __init__(
        self,
        name: str,
        adaptation: Adaptation,
        *,
        reduce: Callable[[Tensor], Tensor],
        warn: Callable[[str], None],
        mend: Callable[[], None],
        watches: bool,
        guards: bool,
        has_scaler: bool = False,
    ) -> None:
        self.adaptation = adaptation
        self.name, self._reduce, self._warn, self._mend = name, reduce, warn, mend
        self._watches, self._guards, self._has_scaler = watches, guards, has_scaler
        self._late = LateValues()
        self._watch = DivergenceWatch()
        self._losses: list[Tensor | None] = []  # of the batches since the last measurement, on the device
        self._cosines: dict[str, tuple[int, float, float]] = {}  # of this epoch: how many, their sum, that of squares
        self._counter = StepCounter(adaptation.optimizer, self._after_step, run_first=True)
        self._seen = 0  # of its steps
        self._unknown = 0  # measurements that were not finite, until this epoch

    def has_stepped(self) -> bool:
        """Whether the optimizer has been about to step since the last `batch_end`, whatever came of it."""
        return self.adaptation.steps != self._seen

    def batch_end(self, loss: Tensor | None) -> None:
        """To be called after each batch in which the optimizer has stepped.

        Args:
            loss: of the step, a scalar on the device; None if there is none.
        """
        self._seen = self.adaptation.steps
        if self._watches:
            self._losses.append(loss)
        known = self._late.take()  # of the batches before
        for measured, beside in self.adaptation.measured():
            self._put(measured, beside)
        for values, beside in known:
            losses, sums = self._split(values, beside["batches"], beside["steps"])
            sign = self._sign_of_divergence(losses, sums)
            self.adaptation.holds_mean = self._guards and self._watch.is_far
            if sign is not None:
                self._go_back(rate_is_to_blame=math.isfinite(sign))  # else one bad batch may be
                return
            trend = "level" if all(loss is None for loss in losses) else self._watch.trend
            news = self.adaptation.decide(sums, beside, trend)
            for (name, unit), is_new in zip(self.units(), news, strict=False):
                if is_new:
                    self._note(name, unit.alignment.cosine)
        self.adaptation.settle()  # what a schedule says of the coming step, scaled

    def units(self) -> Iterator[tuple[str, Unit]]:
        """The units of the adaptation, with their names in logs."""
        units = self.adaptation.units
        names = group_names(self.adaptation.optimizer)
        for unit, name in zip(units, names, strict=False):
            yield (self.name if len(units) == 1 else f"{self.name}/{name}"), unit

    def summary(self) -> str:
        """Where the learning rates have come to, in a sentence."""
        places = [
            f"{rate:.3g} for {name} (scale {unit.rule.scale:.3g}, {unit.rule.turns} turns)"
            for (name, unit), rate in zip(self.units(), self.adaptation.last_rates(), strict=False)
        ]
        return f"the learning rate has come to {', '.join(places)}."

    def verdicts(self) -> Iterator[str]:
        """What the cosines since the last time say of the learning rates, in a sentence for each unit."""
        for name, (count, total, squares) in self._cosines.items():
            mean, rms = total / count, math.sqrt(squares / count)
            word = "about right" if abs(mean) <= _ABOUT_RIGHT * rms else "too low" if mean > 0 else "too high"
            alignment = f"alignment: mean {mean:+.3f}, root mean square {rms:.3f}"
            yield f"the learning rate of {name} was {word} in this epoch ({alignment})."
        if not self._cosines and self.adaptation.unknown > self._unknown:
            yield (
                f"no gradient of {self.name} was finite in this epoch: the learning rate is too high, or look for"
                " values that are not finite."
            )
        self._unknown = self.adaptation.unknown
        self._cosines.clear()

    def restart(self) -> None:
        """Begin anew, with a scale of 1, from the learning rates that are set."""
        self._forget()
        self._watch = DivergenceWatch()
        self.adaptation.restart()

    def let_go(self) -> None:
        """Leave the optimizer alone."""
        self._counter.remove()
        self.adaptation.rates.let_go()

    def state(self, with_vectors: bool) -> dict[str, Any]:
        """For a checkpoint, in plain numbers, lists and tensors."""
        return {
            "adaptation": self.adaptation.state(with_vectors),
            "watch": asdict(self._watch),
            "late": self._late.state(),
            "losses": [None if loss is None else float(loss) for loss in self._losses],
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave, behind the checkpoint that it was in."""
        self.adaptation.load_state(state["adaptation"])
        self._watch = DivergenceWatch(**state["watch"])
        self.adaptation.holds_mean = self._guards and self._watch.is_far
        self._late.load_state(state["late"])
        self._losses = [None if loss is None else torch.tensor(loss) for loss in state["losses"]]

    def _after_step(self, count: int) -> None:
        if count > self.adaptation.steps:
            raise RuntimeError(
                f"HypergradientLR did not hear of a step of {self.name} before it was made: step the optimizers that"
                " self.optimizers() gives, not torch's own behind them."
            )
        self.adaptation.after_step()

    def _forget(self) -> None:
        """What was measured on the way that is left; a loss that is not finite would count twice."""
        self._late.clear()
        self._losses.clear()

    def _note(self, name: str, cosine: float) -> None:
        count, total, squares = self._cosines.get(name, (0, 0.0, 0.0))
        self._cosines[name] = count + 1, total + cosine, squares + cosine**2

    def _put(self, sums: Tensor, beside: dict[str, Any]) -> None:
        """Hand in what was measured, with the losses since the last time."""
        zero, one = sums.new_zeros(1), sums.new_ones(1)
        losses = [zero if loss is None else loss.to(sums).reshape(1) for loss in self._losses]
        counts = [zero if loss is None else one for loss in self._losses]
        beside["batches"] = len(losses)
        self._losses.clear()
        self._late.put(self._reduce(torch.cat([*losses, *counts, sums])), beside)

    def _split(self, values: list[float], batches: int, steps: int) -> tuple[list[float | None], list[float]]:
        """The loss of each step, a mean over the processes that have one, None if it is unknown, and the sums."""
        totals, counts, sums = values[:batches], values[batches : 2 * batches], values[2 * batches :]
        losses = [total / count if count > 0 else None for total, count in zip(totals, counts, strict=True)]
        losses += [None] * (steps - batches)  # where there are several steps in a batch
        if self._has_scaler:  # it leaves these steps out
            losses = [None if loss is None or not math.isfinite(loss) else loss for loss in losses]
        return losses, sums

    def _sign_of_divergence(self, losses: list[float | None], sums: list[float]) -> float | None:
        """The loss that shows it, or the movement if the parameters are lost; None if all is well, or nobody asks."""
        for loss in losses:
            if self._watch.has_diverged(loss) and self._guards:
                return loss
        lost = (moved for moved in sums[2::4] if not math.isfinite(moved))
        return next(lost, None) if self._guards else None

    def _go_back(self, *, rate_is_to_blame: bool) -> None:
        if self._watch.returns == _MOST_RETURNS:
            raise RuntimeError(
                f"HypergradientLR has taken training with {self.name} back to good weights {_MOST_RETURNS} times in a"
                " row, and it diverges again even with small steps: look for values in the data or the loss that are"
                " not finite, or set guard=False to train on."
            )
        if self._watch.returns == 0:
            self._warn(
                f"HypergradientLR: training with {self.name} has diverged. It goes on from the mean of the last good"
                " weights, with 0.3 of the learning rate."
            )
        self._watch.taken_back()
        self._forget()
        self.adaptation.go_back(rate_is_to_blame=rate_is_to_blame)
        self._mend()
