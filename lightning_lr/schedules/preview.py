"""The values that training would use at each step, computed without training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lightning_lr.arguments import checked, flag, optional, whole
from lightning_lr.schedules.base import Schedule
from lightning_lr.schedules.bounds import Bounds
from lightning_lr.schedules.figure import preview_figure
from lightning_lr.schedules.inverse_range import InverseRange

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Preview:
    """The values of each optimizer step of a run.

    Attributes:
        lr: learning rate, shape [steps], or [steps, groups] if the bounds were given for each group.
        cycle: number of the cycle, from 1; 0 in a warm-up, shape [steps].
        phase: fraction of the cycle that has passed, from 0 to 1, shape [steps].
        momentum: shape [steps]; None if the schedule does not set it.
        weight_decay: of the group with the highest one, shape [steps]; None if the schedule does not set it.
    """

    lr: NDArray[np.float64]
    cycle: NDArray[np.int64]
    phase: NDArray[np.float64]
    momentum: NDArray[np.float64] | None = None
    weight_decay: NDArray[np.float64] | None = None

    @checked(steps_per_epoch=optional(whole(at_least=1)), of_max_lr=flag)
    def figure(self, steps_per_epoch: int | None = None, of_max_lr: bool = False) -> Figure:
        """Draw it.

        Args:
            steps_per_epoch: show epochs instead of steps.
            of_max_lr: whether the learning rate is a share of a ``max_lr`` that is not known yet.
        """
        return preview_figure(self.lr, self.momentum, self.weight_decay, steps_per_epoch, of_max_lr)


def preview(
    schedule: Schedule,
    bounds: Bounds,
    steps: int,
    momentum: InverseRange | None = None,
    weight_decay: InverseRange | None = None,
) -> Preview:
    """Compute the values of the first steps of a run.

    >>> from lightning_lr.schedules.cyclical import Cyclical
    >>> values = preview(Cyclical(2, 2), Bounds.checked(0.0, 1.0), steps=5, momentum=InverseRange(0.8, 0.9))
    >>> values.momentum.round(12).tolist()
    [0.9, 0.85, 0.8, 0.85, 0.9]

    Args:
        schedule: of the run.
        bounds: of the learning rate.
        steps: optimizer steps of the run.
        momentum: range of the momentum; None if the schedule does not set it.
        weight_decay: range of the weight decay; None if the schedule does not set it.
    """
    positions = [schedule.at(step) for step in range(steps)]
    pairs = bounds.pairs()
    lr = np.array([[position.lr(low, high) for low, high in pairs] for position in positions])

    def inverse(limits: InverseRange | None) -> NDArray[np.float64] | None:
        return None if limits is None else np.array([limits.at(position.amplitude) for position in positions])

    return Preview(
        lr=lr[:, 0] if len(pairs) == 1 else lr,
        cycle=np.array([position.cycle for position in positions]),
        phase=np.array([position.phase for position in positions]),
        momentum=inverse(momentum),
        weight_decay=inverse(weight_decay),
    )
