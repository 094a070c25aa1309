"""Whether training has diverged, from its loss."""

from __future__ import annotations

import math
from dataclasses import dataclass

_PATIENCE = 10  # steps that the loss may stay high
_CALM = 100  # steps after which a return is forgotten


@dataclass
class DivergenceWatch:
    """Watches the loss of training, step by step.

    Training has diverged when the loss is not finite, or when its mean (exponential, 0.8) has stayed for 10 steps more
    than 0.7 of the way back up from its lowest to where it began, and that way is more than three standard deviations
    of the noise of the loss while it was not so high. There is no ratio of losses, since they can be negative.

    Attributes:
        start: the first loss; the first one after it was taken back.
        mean: exponential mean of the losses.
        lowest: of the mean.
        last: the latest loss.
        variance: of the noise, from the differences of successive losses.
        high: steps that the mean has been high.
        calm: steps since training was taken back.
        returns: how many times it was, with fewer than 100 steps in between.
    """

    start: float | None = None
    mean: float = 0.0
    lowest: float = math.inf
    last: float = 0.0
    variance: float = 0.0
    high: int = 0
    calm: int = 0
    returns: int = 0

    def has_diverged(self, loss: float | None, steps: int = 1) -> bool:
        """Take the mean loss of the latest ``steps`` steps, None if it is not known.

        >>> watch = DivergenceWatch()
        >>> [watch.has_diverged(loss) for loss in (4.0, 2.0, 1.0, 1.0, math.nan)]
        [False, False, False, False, True]
        """
        self.calm += steps
        if self.calm >= _CALM:
            self.returns = 0
        if loss is None:
            return False
        if not math.isfinite(loss):
            return True
        if self.start is None:
            self.start = self.mean = self.last = loss
        self.mean += (1 - 0.8**steps) * (loss - self.mean)
        self.lowest = min(self.lowest, self.mean)
        way = self.start - self.lowest
        is_up = self.mean > self.lowest + 0.7 * way
        is_high = is_up and way > 3 * math.sqrt(self.variance)
        self.high = self.high + steps if is_high else 0
        if not is_up or self.variance == 0:  # else what blows up would pass for noise
            square = (loss - self.last) ** 2 / 2
            self.variance += (1 - 0.95**steps if self.variance else 1.0) * (square - self.variance)
        self.last = loss
        return self.high >= _PATIENCE

    def taken_back(self) -> None:
        """Training was taken back to where it was good."""
        self.__init__(returns=self.returns + 1)  # type: ignore[misc]
