"""What the user is told of the adaptation of one optimizer: after each epoch if it only measures, else at the end."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from lightning_lr.adaptation import constants
from lightning_lr.adaptation.controller import LRController
from lightning_lr.adaptation.scaled_group import ScaledGroup
from lightning_lr.optimizers.param_groups import unique_group_names

_ROUNDING = 1e-6  # above that of float32, in which a learning rate may be


class _Cosines(NamedTuple):
    """The cosines of one scaled group in an epoch."""

    number: int = 0
    total: float = 0.0
    total_of_squares: float = 0.0

    def add(self, cosine: float) -> _Cosines:
        return _Cosines(self.number + 1, self.total + cosine, self.total_of_squares + cosine**2)


class AdaptationReport:
    """Names the scaled groups of an optimizer, and says what has come of their learning rates.

    Args:
        name: of the optimizer.
        controller: of its learning rates.
    """

    def __init__(self, name: str, controller: LRController) -> None:
        self._name, self._controller = name, controller
        self._cosines: dict[str, _Cosines] = {}  # of this epoch
        self._not_finite_at_epoch_end = 0

    def named_groups(self) -> Iterator[tuple[str, ScaledGroup]]:
        """The scaled groups, with their names in logs."""
        groups, optimizer = self._controller.groups, self._controller.optimizer
        names = [self._name] if len(groups) == 1 else [f"{self._name}/{n}" for n in unique_group_names(optimizer)]
        return zip(names, groups, strict=False)

    def add_cosines(self, is_new: list[bool]) -> None:
        """Take the cosines of the scaled groups that have a new alignment, for the verdict at the end of the epoch."""
        for (name, group), has_alignment in zip(self.named_groups(), is_new, strict=False):
            if has_alignment:
                self._cosines[name] = self._cosines.get(name, _Cosines()).add(group.alignment.cosine)

    def verdicts(self) -> Iterator[str]:
        """What the cosines since the last call say of the learning rates, in a sentence for each scaled group."""
        for name, (number, total, total_of_squares) in self._cosines.items():
            mean, rms = total / number, math.sqrt(total_of_squares / number)
            is_balanced = abs(mean) <= constants.BALANCED_SHARE * rms
            word = "about right" if is_balanced else "too low" if mean > 0 else "too high"
            alignment = f"alignment: mean {mean:+.3f}, root mean square {rms:.3f}"
            yield f"the learning rate of {name} was {word} in this epoch ({alignment})."
        if not self._cosines and self._controller.not_finite > self._not_finite_at_epoch_end:
            yield (
                f"no gradient of {self._name} was finite in this epoch: lower the learning rate, or look for values"
                " that are not finite."
            )
        self._not_finite_at_epoch_end = self._controller.not_finite
        self._cosines.clear()

    def summary(self) -> str:
        """The learning rates that were reached before the final decay, and the argument that has kept them there."""
        controller = self._controller
        known = [(*pair, lr) for pair, lr in zip(self.named_groups(), controller.scales.reached_lrs(), strict=False)]
        reached = [
            f"{lr:.3g} for {name} (scale: {group.scale:.3g}, sign changes: {group.rule.sign_changes})"
            for name, group, lr in known
        ]
        note = ", before it fell at the end" if controller.scales.used_decay_factor < 1 else ""
        text = f"the learning rate has come to {', '.join(reached)}{note}."
        if controller.freeze_after == controller.adapts_until < controller.steps:
            text += f" freeze_after has kept the scale since step {controller.freeze_after:g}."
        for name, group, lr in known:
            if lr >= group.max_lr * (1 - _ROUNDING):
                text += f" max_lr has kept {name} from a higher one."
        return text
