"""Whether training has diverged, and where it is going, from its loss."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise

from lightning_lr.adaptation.rules import Trend

_PATIENCE = 10  # steps that the loss may stay high
_STUCK = 15  # steps that it has been high, after which the noise of these alone is enough
_CALM = 100  # steps after which a return is forgotten
_OF_LATE = 20  # steps after which a low level is forgotten: sooner than a rise is, as noise


@dataclass
class DivergenceWatch:
    """Watches the loss of training, step by step.

    Training has diverged when the loss is not finite, or when its mean (exponential, 0.8) has stayed for 10 steps more
    than 0.7 of the way back up from the lowest level that it had reached (a slower mean, 0.9) to where it began, and
    that way is more than three standard deviations of the noise of the loss while it was not so high; or when it has
    stayed ten of them above where it began. After 15 steps, four of the noise of these alone are enough: a network
    that has died, after steps that were wild, is stuck where it began, and quiet. Most of the last 10 losses are that
    high too: a single one that is far off lifts the mean for as long. There is no ratio of losses, since they can be
    negative.

    Attributes:
        start: the first loss; the first one after it was taken back.
        mean: exponential mean of the losses.
        level: a slower one: a few low losses are no level that was reached.
        lowest: level.
        low: the lowest level of late.
        variance: of the noise, from the differences of successive losses.
        latest: losses.
        far: steps since the loss is as far above where it began as it had come below, or it is ten deviations of the
            noise above, until it is back.
        high: steps since the mean has been high.
        calm: steps since training was taken back.
        returns: how many times it was, with less than 100 of these in between.
    """

    start: float | None = None
    mean: float = 0.0
    level: float = 0.0
    lowest: float = math.inf
    low: float = math.inf
    variance: float = 0.0
    latest: list[float] = field(default_factory=list)
    far: int = 0
    high: int = 0
    calm: int = 0
    returns: int = 0

    def has_diverged(self, loss: float | None) -> bool:
        """Take the loss of the next step, None if it is not known.

        >>> watch = DivergenceWatch()
        >>> [watch.has_diverged(loss) for loss in (4.0, 2.0, 1.0, 1.0, math.nan)]
        [False, False, False, False, True]
        """
        self.calm += 1
        if self.calm >= _CALM:
            self.returns = 0
        if loss is None:
            return False
        if not math.isfinite(loss):
            return True
        if self.start is None:
            self.start = self.mean = self.level = self.lowest = self.low = loss
        self.mean += 0.2 * (loss - self.mean)
        self.level += 0.1 * (loss - self.level)
        self.lowest = min(self.lowest, self.level)
        self.low = min(self.level, self.low + (self.level - self.low) / _OF_LATE)
        self.latest = [*self.latest[-_STUCK:], loss]
        way = self.start - self.lowest
        edge = self.lowest + 0.7 * way
        noise = math.sqrt(self.variance)  # before this loss
        is_news = way > noise or loss - self.start > 10 * noise > 0
        self.far = self.far + 1 if loss > self.start + way and (self.far or is_news) else 0
        self.high = self.high + 1 if self.mean > edge else 0
        if self.high == 0 or len(self.latest) <= _STUCK:  # else what blows up would pass for noise
            square = (loss - self.latest[-2]) ** 2 / 2 if len(self.latest) > 1 else 0.0
            self.variance += (0.05 if self.variance else 1.0) * (square - self.variance)
        noise = math.sqrt(self.variance)
        if sum(each > edge for each in self.latest[-_PATIENCE:]) <= _PATIENCE / 2:
            return False  # a few that are far off, and lift the mean for long
        if self.high >= _STUCK and way > 4 * max(self._noise_now(), 0.2 * noise):
            return True
        return self.high >= _PATIENCE and (way > 3 * noise or self.mean - self.start > 10 * noise > 0)

    @property
    def is_far(self) -> bool:
        """Whether the loss has gone so far that the iterates are not to be trusted. What stays there is no explosion,
        which would have been seen by then."""
        return 0 < self.far <= 2 * _STUCK

    @property
    def trend(self) -> Trend:
        """Of the loss. It has risen if its level is more than a standard deviation of the noise, and 0.01 of the way
        from the start, above the lowest one of late, which is three of these below the start at least; it falls if the
        mean is half of one below the level, and that is more than 0.15 of all that was gained.

        >>> watch, trends = DivergenceWatch(), []
        >>> for loss in (4.0, 3.0, 2.0, 1.0, *[1.0] * 20, *[3.0] * 4):
        ...     assert not watch.has_diverged(loss)
        ...     trends.append(watch.trend)
        >>> trends[4], trends[20], trends[-1]
        ('falls', 'level', 'has risen')
        """
        if self.start is None:
            return "level"
        noise = math.sqrt(self.variance)
        way = self.start - self.low
        if self.level - self.low > max(noise, 0.01 * way) and way > 3 * noise:
            return "has risen"
        is_falling = self.level - self.mean > max(0.5 * noise, 0.15 * (self.start - self.mean))
        return "falls" if is_falling else "level"

    def taken_back(self) -> None:
        """Training was taken back to where it was good."""
        self.__init__(returns=self.returns + 1)  # type: ignore[misc]

    def _noise_now(self) -> float:
        """Of the latest losses: about their standard deviation, from all their differences but the three largest, so
        that the last wild ones do not matter."""
        differences = sorted(abs(after - before) for before, after in pairwise(self.latest))[:-3]
        return 1.15 * sum(differences) / len(differences)
