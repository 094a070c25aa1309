"""`RangeTest`: runs the sweep of a range test in a rehearsal and returns its curve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray

from lightning_lr.range_test.curve import LRCurve
from lightning_lr.range_test.early_stop import has_diverged
from lightning_lr.trainer.progress_bar import progress_line
from lightning_lr.trainer.rehearsal import Rehearsal
from lightning_lr.trainer.sweep import Sweep

# Points after which an exception of the module counts as a divergence: a curve must begin with three finite values.
_POINTS_BEFORE_ERROR = 3


@dataclass(frozen=True, eq=False)
class RangeTest:
    """One sweep of the learning rate, which ends early when the loss or metric diverges.

    Attributes:
        lrs: learning rate of each point, shape [n].
        owner: the name in error messages.
        monitor: a key that the module logs, None for the training loss.
        monitor_mode: whether less (``"min"``) or more (``"max"``) of it is better.
        steps_per_lr: optimizer steps per point; more than 1 only with ``monitor``.
        eval_batches: maximum number of batches of each validation loader.
        snapshot_device: where the copy of the model and the optimizers lives, ``"device"`` or ``"cpu"``.
    """

    lrs: NDArray[np.float64]
    owner: str
    monitor: str | None
    monitor_mode: Literal["min", "max"]
    steps_per_lr: int
    eval_batches: int
    snapshot_device: Literal["device", "cpu"]

    def run(self, trainer: Trainer) -> LRCurve:
        """Run the sweep. Call it in a hook in which a `Rehearsal` can be entered.

        Points after an early end are NaN.
        """
        name = self.monitor or "loss"
        with (
            progress_line(trainer, len(self.lrs), "LR range test") as line,
            Rehearsal(trainer, self.snapshot_device) as rehearsal,
        ):

            def show(lr: float, value: float) -> None:
                line.update(f"lr={lr:.1e}" + (f" {name}={value:.3g}" if math.isfinite(value) else ""))

            sweep = Sweep(
                lrs=self.lrs.tolist(),
                owner=self.owner,
                monitor=self.monitor,
                steps_per_lr=self.steps_per_lr,
                eval_batches=self.eval_batches,
                should_stop=self._has_diverged,
                points_before_error=_POINTS_BEFORE_ERROR,
                on_point=show,
            )
            result = sweep.run(trainer, rehearsal)
        values = result.values
        if result.error is not None:
            rank_zero_warn(
                f"{self.owner}: the sweep ended at lr={self.lrs[len(values) - 1]:.2g}, since training raised"
                f" {result.error}. This counts as a divergence."
            )
        recorded = np.full(len(self.lrs), np.nan)
        recorded[: len(values)] = values
        return LRCurve(self.lrs, recorded, name, self.monitor_mode)

    def _has_diverged(self, values: Sequence[float]) -> bool:
        return has_diverged(self.lrs, values if self.monitor_mode == "min" else [-value for value in values])
