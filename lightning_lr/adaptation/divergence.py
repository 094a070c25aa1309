"""Whether training has diverged, and the trend of its loss."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from lightning_lr.adaptation import checkpoint_keys, constants
from lightning_lr.adaptation.rules import Trend


@dataclass
class DivergenceDetector:
    """Follows the loss of training, step by step.

    With σ the standard deviation of the loss, before it became high::

        mean  ← mean + LOSS_MEAN_WEIGHT (loss - mean)
        level ← level + LOSS_LEVEL_WEIGHT (loss - level)
        gain  = start - lowest level
        high: mean > lowest level + RISE_SHARE · gain

    Training has diverged when a loss is not finite, or when most of the last PATIENCE losses lie above the same edge
    (a single large loss lifts the mean for as long) and one of these holds:

    - The mean has been high for PATIENCE steps, and ``gain > GAIN_DEVIATIONS · σ``.
    - The mean has been high for PATIENCE steps, and ``mean - start > ABOVE_START_DEVIATIONS · σ``.
    - The mean has been high for STUCK_STEPS, and ``gain > STUCK_GAIN_DEVIATIONS`` times the deviation of the latest
      losses alone. A network that has died after wild steps stays quiet near its first loss.

    No ratios of losses are used, since losses can be negative. The values in capitals are those of
    `lightning_lr.adaptation.constants`.

    Attributes:
        start: the first loss, or the first one after a return to the anchor.
        mean: fast exponential mean of the loss.
        level: slow exponential mean of the loss.
        lowest_level: minimum of the level.
        recent_low: minimum of the level, which is forgotten with time.
        variance: of the loss, from the differences of successive losses.
        latest_losses: the last STUCK_STEPS + 1.
        steps_far_above: steps since ``loss > start + gain``, beyond the noise; 0 if that does not hold.
        steps_high: steps since the mean has been high.
        steps_since_return: steps since the last return to the anchor.
        returns: returns to the anchor with less than CALM_STEPS between them.
    """

    start: float | None = None
    mean: float = 0.0
    level: float = 0.0
    lowest_level: float = math.inf
    recent_low: float = math.inf
    variance: float = 0.0
    latest_losses: list[float] = field(default_factory=list)
    steps_far_above: int = 0
    steps_high: int = 0
    steps_since_return: int = 0
    returns: int = 0

    def has_diverged(self, loss: float | None) -> bool:
        """Take the loss of the next step, None if it is not known.

        >>> detector = DivergenceDetector()
        >>> [detector.has_diverged(loss) for loss in (4.0, 2.0, 1.0, 1.0, math.nan)]
        [False, False, False, False, True]
        """
        self.steps_since_return += 1
        if self.steps_since_return >= constants.CALM_STEPS:
            self.returns = 0
        if loss is None:
            return False
        if not math.isfinite(loss):
            return True
        start = self._average(loss)
        gain = start - self.lowest_level
        edge = self.lowest_level + constants.RISE_SHARE * gain
        self._count_steps(loss, start, gain, edge)
        self._track_noise(loss)
        return self._has_stayed_high(start, gain, edge)

    @property
    def is_far_above(self) -> bool:
        """Whether the loss is so far above its start that the iterates are not to be averaged.

        A loss that stays there is no divergence, which would have been detected by then.
        """
        return 0 < self.steps_far_above <= constants.MAX_STEPS_FAR_ABOVE

    @property
    def trend(self) -> Trend:
        """Of the loss, with ``gain = start - recent low``.

        - risen: ``level - recent low > max(σ, RISEN_SHARE · gain)``, and ``gain > GAIN_DEVIATIONS · σ``.
        - falling: ``level - mean > max(FALLING_DEVIATIONS · σ, FALLING_SHARE (start - mean))``.

        >>> detector, trends = DivergenceDetector(), []
        >>> for loss in (4.0, 3.0, 2.0, 1.0, *[1.0] * 20, *[3.0] * 4):
        ...     assert not detector.has_diverged(loss)
        ...     trends.append(detector.trend)
        >>> trends[4], trends[20], trends[-1]
        ('falling', 'flat', 'risen')
        """
        if self.start is None:
            return "flat"
        noise = math.sqrt(self.variance)
        gain = self.start - self.recent_low
        has_risen = self.level - self.recent_low > max(noise, constants.RISEN_SHARE * gain)
        if has_risen and gain > constants.GAIN_DEVIATIONS * noise:
            return "risen"
        fall = max(constants.FALLING_DEVIATIONS * noise, constants.FALLING_SHARE * (self.start - self.mean))
        return "falling" if self.level - self.mean > fall else "flat"

    def after_return(self) -> DivergenceDetector:
        """A new detector, for training that was taken back to the anchor."""
        return DivergenceDetector(returns=self.returns + 1)

    def state(self) -> dict[str, Any]:
        """For a checkpoint, in plain numbers."""
        return checkpoint_keys.save(self, checkpoint_keys.DIVERGENCE_DETECTOR)

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from what `state` gave."""
        checkpoint_keys.load(self, state, checkpoint_keys.DIVERGENCE_DETECTOR)

    def _average(self, loss: float) -> float:
        """Take a loss into the means and lows; gives the first loss."""
        if self.start is None:
            self.start = self.mean = self.level = self.lowest_level = self.recent_low = loss
        self.mean += constants.LOSS_MEAN_WEIGHT * (loss - self.mean)
        self.level += constants.LOSS_LEVEL_WEIGHT * (loss - self.level)
        self.lowest_level = min(self.lowest_level, self.level)
        risen_low = self.recent_low + (self.level - self.recent_low) / constants.LOW_MEMORY
        self.recent_low = min(self.level, risen_low)
        self.latest_losses = [*self.latest_losses[-constants.STUCK_STEPS :], loss]
        return self.start

    def _count_steps(self, loss: float, start: float, gain: float, edge: float) -> None:
        noise = math.sqrt(self.variance)  # before this loss
        # a loss counts as far above its start once that cannot be noise, and then until it is back
        is_clear = gain > noise or loss - start > constants.ABOVE_START_DEVIATIONS * noise > 0
        is_far_above = loss > start + gain and (self.steps_far_above > 0 or is_clear)
        self.steps_far_above = self.steps_far_above + 1 if is_far_above else 0
        self.steps_high = self.steps_high + 1 if self.mean > edge else 0

    def _track_noise(self, loss: float) -> None:
        if self.steps_high > 0 and len(self.latest_losses) > constants.STUCK_STEPS:
            return  # a loss that blows up is not noise
        square = (loss - self.latest_losses[-2]) ** 2 / 2 if len(self.latest_losses) > 1 else 0.0
        self.variance += (constants.LOSS_VARIANCE_WEIGHT if self.variance else 1.0) * (square - self.variance)

    def _has_stayed_high(self, start: float, gain: float, edge: float) -> bool:
        latest = self.latest_losses[-constants.PATIENCE :]
        if self.steps_high < constants.PATIENCE or sum([loss > edge for loss in latest]) <= constants.PATIENCE / 2:
            return False
        noise = math.sqrt(self.variance)
        if self.steps_high >= constants.STUCK_STEPS:
            least = max(self._latest_noise(), constants.STUCK_MIN_NOISE * noise)
            if gain > constants.STUCK_GAIN_DEVIATIONS * least:
                return True
        is_above_start = self.mean - start > constants.ABOVE_START_DEVIATIONS * noise > 0
        return gain > constants.GAIN_DEVIATIONS * noise or is_above_start

    def _latest_noise(self) -> float:
        """The standard deviation of the latest losses, from their differences without the largest."""
        differences = sorted(abs(after - before) for before, after in pairwise(self.latest_losses))
        kept = differences[: -constants.WILD_DIFFERENCES]
        return constants.DEVIATION_PER_DIFFERENCE * sum(kept) / len(kept)
