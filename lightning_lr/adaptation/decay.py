"""The fall of the learning rate at the end of a run."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lightning_lr.arguments import checked, whole


@checked(length=whole(at_least=1), run_length=whole(at_least=1))
@dataclass(frozen=True)
class FinalDecay:
    """``1 - √x``, with x the share of the fall that has passed.

    What noise costs at the end of a run is won back by a fall of the learning rate, not by its height.

    Attributes:
        length: steps of the fall.
        run_length: steps of the run, at whose end it ends.

    References:
        Alexander Hägele et al., "Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations", 2024,
        arXiv:2405.18392 (the shape).
    """

    length: int
    run_length: int

    @property
    def start(self) -> int:
        """The first step of the fall."""
        return self.run_length - self.length

    def factor(self, step: int) -> float:
        """The factor of the learning rate in a step, counted from 0.

        It is never 0: a run with more steps than expected keeps the factor of the last one, and so do checkpoints.

        >>> decay = FinalDecay(3, 10)
        >>> [decay.factor(step) for step in (0, 6, 7, 8, 9, 10)]
        [1.0, 1.0, 0.5, 0.2928932188134524, 0.1339745962155614, 0.1339745962155614]
        """
        share = (min(step, self.run_length - 1) + 1 - (self.run_length - self.length)) / (self.length + 1)
        return 1 - math.sqrt(max(0.0, share))
