"""Where the loss of training lies, against its first values and its noise."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import Any

from lightning_lr.adaptation import checkpoint_keys, constants
from lightning_lr.adaptation.rules import LossState


@dataclass
class LossLevel:
    """Follows the loss, step by step.

    With the mean and the mean absolute deviation of the first FIRST_LOSSES losses, or as many as there are, and the
    first loss as the first level::

        if loss <= first (explosions are no noise):
            deviation ← deviation + SQUARE_WEIGHT (|loss - level| - deviation),  k ← k + 1
        level ← level + LEVEL_WEIGHT (loss - level)
        noise = max(deviation / (1 - (1 - SQUARE_WEIGHT)^k), mean absolute deviation of the first)
        has learned: at some step, level < first - LEARNED_DEVIATIONS · noise, with FIRST_LOSSES losses or more
        has risen: level > first + LEARNED_DEVIATIONS · noise
        gain = max(0, first - LEARNED_DEVIATIONS · noise - level)
        is far above: level > first + FAR · max(first - lowest level, noise)

    No ratios of losses are used, since losses can be negative. The values in capitals are those of
    `lightning_lr.adaptation.constants`.

    Attributes:
        first_losses: at most FIRST_LOSSES.
        level: exponential mean of the loss.
        lowest_level: its minimum.
        deviation: exponential mean of the distances from the level. It begins at 0, which the noise corrects for.
        count: k, the number of these distances.
        has_learned: see above.
        has_risen: see above.
        is_far_above: whether the loss is further above its first values than any noise or gain explains.
    """

    first_losses: list[float] = field(default_factory=list)
    level: float = 0.0
    lowest_level: float = 0.0
    deviation: float = 0.0
    count: int = 0
    has_learned: bool = False
    has_risen: bool = field(default=False, init=False)
    is_far_above: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._measure_first()
        self._compare()

    def add(self, loss: float) -> None:
        """Take the loss of the next step, which is finite.

        >>> level, states = LossLevel(), []
        >>> for loss in [4.0, 4.1, 3.9, 4.0, 4.0] + [3.0] * 15 + [9.0] * 5:
        ...     level.add(loss)
        ...     states.append(level.state_of_loss())
        >>> [state.has_learned for state in states].index(True), [state.has_risen for state in states].index(True)
        (13, 21)
        """
        if not self.first_losses:
            self.level = self.lowest_level = loss
        if len(self.first_losses) < constants.FIRST_LOSSES:
            self.first_losses = [*self.first_losses, loss]
            self._measure_first()
        if loss <= self._first:
            self.deviation += constants.SQUARE_WEIGHT * (abs(loss - self.level) - self.deviation)
            self.count += 1
        self.level += constants.LEVEL_WEIGHT * (loss - self.level)
        self.lowest_level = min(self.lowest_level, self.level)
        self._compare()
        is_below = self.level < self._first - self._clear_distance
        self.has_learned = self.has_learned or (is_below and len(self.first_losses) == constants.FIRST_LOSSES)

    def state_of_loss(self) -> LossState:
        """What a rule is told. Without losses, nothing keeps the scale from falling."""
        if not self.first_losses:
            return LossState()
        return LossState(self.has_learned, self.has_risen, max(0.0, self._first - self._clear_distance - self.level))

    def return_to_lowest(self) -> None:
        """Go on from the lowest level: the parameters were set back to the anchor."""
        self.level = self.lowest_level
        self._compare()

    def state(self) -> dict[str, Any]:
        """For a checkpoint, in plain numbers."""
        return checkpoint_keys.save(self, checkpoint_keys.LOSS_LEVEL)

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from what `state` gave."""
        checkpoint_keys.load(self, state, checkpoint_keys.LOSS_LEVEL)
        self._measure_first()
        self._compare()

    def _measure_first(self) -> None:
        self._first = statistics.fmean(self.first_losses) if self.first_losses else 0.0
        distances = [abs(loss - self._first) for loss in self.first_losses]
        self._first_deviation = statistics.fmean(distances) if distances else 0.0

    def _compare(self) -> None:
        """With the first losses."""
        weight = 1 - (1 - constants.SQUARE_WEIGHT) ** self.count
        noise = max(self.deviation / weight if weight else 0.0, self._first_deviation)
        self._clear_distance = constants.LEARNED_DEVIATIONS * noise
        self.has_risen = self.level > self._first + self._clear_distance
        far = constants.FAR * max(self._first - self.lowest_level, noise)
        self.is_far_above = len(self.first_losses) >= constants.FIRST_LOSSES and self.level - self._first > far
