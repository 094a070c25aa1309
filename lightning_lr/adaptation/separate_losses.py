"""Optimizers of a training that step on losses of their own, as in adversarial training: what shows it, and a limit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lightning_lr.adaptation import constants
from lightning_lr.adaptation.adapted_optimizer import AdaptedOptimizer


@dataclass
class SeparateLosses:
    """Watches the backward passes and the steps of one batch.

    Optimizers that share a loss step after the same backward pass. Generator and discriminator have one each. Two that
    step in turns of batches may share a loss, and so may two that step after several backward passes. So adversarial
    training of these kinds is not recognised.

    >>> losses = SeparateLosses()
    >>> losses.batch_start(); losses.backward(); losses.step(0), losses.step(1)
    (False, False)
    >>> losses.batch_start(); losses.backward(); losses.step(0); losses.backward(); losses.step(1)
    False
    True

    Attributes:
        backwards: backward passes so far in this batch.
        last_step: the optimizer that has stepped last in this batch, and the backward passes before its step.
    """

    backwards: int = 0
    last_step: tuple[int, int] | None = None

    def batch_start(self) -> None:
        self.backwards, self.last_step = 0, None

    def backward(self) -> None:
        self.backwards += 1

    def step(self, optimizer: int) -> bool:
        """Take a step of an optimizer. Gives whether another one has stepped before it on another loss."""
        last, self.last_step = self.last_step, (optimizer, self.backwards)
        return last is not None and last[0] != optimizer and last[1] != self.backwards


def limit_players(optimizers: Iterable[AdaptedOptimizer]) -> None:
    """Keep the scales of optimizers near 1, since they step on losses of their own."""
    limit = float(constants.MAX_SCALE_OF_PLAYERS)
    for optimizer in optimizers:
        groups = optimizer.controller.groups if optimizer.controller.adapts_by_anchor else []
        if new := [group for group in groups if group.max_change > limit]:
            for group in new:
                group.max_change = limit
            optimizer.warn(
                f"HypergradientLR: {optimizer.name} steps on its own loss, as in adversarial training. What it gains"
                f" another may lose, so its learning rate stays within a factor of {limit:g} of the one that is set."
            )
