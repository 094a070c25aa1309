"""The values of a schedule without training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lightning_lr.schedules.base import Schedule
from lightning_lr.schedules.bounds import Bounds
from lightning_lr.schedules.writer import Range, against

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Preview:
    """What each optimizer step of a run would use.

    Attributes:
        lr: shape [steps], or [steps, groups] if the bounds were given for each group.
        cycle: from 1, 0 in a warm-up, shape [steps].
        phase: share of the cycle that has passed, from 0 to 1, shape [steps].
        momentum: shape [steps], None if it is left alone.
        weight_decay: likewise.
    """

    lr: NDArray[np.float64]
    cycle: NDArray[np.int64]
    phase: NDArray[np.float64]
    momentum: NDArray[np.float64] | None = None
    weight_decay: NDArray[np.float64] | None = None

    def figure(self, steps_per_epoch: int | None = None, of_max_lr: bool = False) -> Figure:
        """A picture of it.

        Args:
            steps_per_epoch: count epochs instead of steps.
            of_max_lr: whether the learning rate is a share of ``max_lr``, which is not known yet.
        """
        from lightning_lr.schedules.figure import preview_figure

        return preview_figure(self, steps_per_epoch, of_max_lr)


def preview(
    schedule: Schedule,
    bounds: Bounds,
    steps: int,
    momentum: Range | None = None,
    weight_decay: Range | None = None,
) -> Preview:
    """Ask a schedule for the first steps of a run.

    >>> from lightning_lr.schedules.cyclical import Cycles
    >>> preview(Cycles(2, 2), Bounds.checked(0.0, 1.0), 5, momentum=(0.8, 0.9)).momentum.round(12).tolist()
    [0.9, 0.85, 0.8, 0.85, 0.9]

    Args:
        schedule: whose.
        bounds: of the learning rate.
        steps: optimizer steps of the run.
        momentum: lowest and highest, moved against the learning rate.
        weight_decay: likewise.
    """
    places = [schedule.at(step) for step in range(steps)]
    bounds_of_groups = list(zip(*(bound.tolist() for bound in bounds.values()), strict=True))
    lr = np.array([[place.between(low, high) for low, high in bounds_of_groups] for place in places])
    height = [place.height for place in places]
    return Preview(
        lr=lr[:, 0] if len(bounds_of_groups) == 1 else lr,
        cycle=np.array([place.cycle for place in places]),
        phase=np.array([place.phase for place in places]),
        momentum=None if momentum is None else np.array([against(momentum, each) for each in height]),
        weight_decay=None if weight_decay is None else np.array([against(weight_decay, each) for each in height]),
    )
