"""`LRGrid`: the learning rates that a search can try."""

from __future__ import annotations

import math
from dataclasses import dataclass

# Learning rates in a factor of 10. A grid of quarter decades takes twice the steps and is no better on the settings of
# benchmarks/suite.
LRS_PER_DECADE = 2


@dataclass(frozen=True)
class LRGrid:
    """Learning rates ``min_lr step^i`` with whole numbers i.

    Attributes:
        min_lr: the learning rate at i = 0.
        max_lr: that at i = ``intervals``, without rounding.
        step: factor between two neighbours, above 1.
        intervals: i of the highest learning rate with which a search begins.
        extends: whether i may be below 0 or above ``intervals``.
    """

    min_lr: float
    max_lr: float
    step: float
    intervals: int
    extends: bool

    @classmethod
    def between(cls, min_lr: float, max_lr: float, extends: bool) -> LRGrid:
        """The coarsest grid from one learning rate to another with steps of at most half a decade."""
        intervals = max(1, math.ceil(LRS_PER_DECADE * math.log10(max_lr / min_lr) - 1e-9))  # 1e-9: a rounding error
        return cls(float(min_lr), float(max_lr), (max_lr / min_lr) ** (1 / intervals), intervals, extends)

    def lr(self, index: int) -> float:
        """The learning rate at an index, always the same number."""
        return self.max_lr if index == self.intervals else float(self.min_lr * self.step**index)

    def index(self, lr: float) -> int:
        """The index of a learning rate of this grid."""
        return round(math.log(lr / self.min_lr) / math.log(self.step))

    def has(self, index: int) -> bool:
        """Whether this learning rate may be tried."""
        return self.extends or 0 <= index <= self.intervals
