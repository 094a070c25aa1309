"""`RangeTest`: runs the sweep of a range test in a rehearsal and returns its curve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from numpy.typing import NDArray

from lightning_lr.optimizers.param_groups import has_lr
from lightning_lr.optimizers.update_kind import UpdateKind, update_kind
from lightning_lr.range_test.curve import LRCurve
from lightning_lr.range_test.early_stop import is_far_above_start
from lightning_lr.range_test.rule_input import DIVISORS
from lightning_lr.range_test.smoothing import fill_gaps
from lightning_lr.range_test.sweep_range import EXTENSION, begins_too_high, still_falls_at_end
from lightning_lr.search.planner import LOWEST_LR
from lightning_lr.search.result import SHARES
from lightning_lr.trainer.bad_batches import first_bad_step
from lightning_lr.trainer.progress_bar import ProgressLine, progress_line
from lightning_lr.trainer.rehearsal import Rehearsal
from lightning_lr.trainer.sweep import Sweep, SweepResult

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
        extends: whether the sweep leaves the range of ``lrs``, which must then rise by a constant factor. If the loss
            changes from the first points on, it is run again from four decades below, down to 1e-15. If it still falls
            at the end, the sweep goes on, by up to four decades.
    """

    lrs: NDArray[np.float64]
    owner: str
    monitor: str | None
    monitor_mode: Literal["min", "max"]
    steps_per_lr: int
    eval_batches: int
    snapshot_device: Literal["device", "cpu"]
    extends: bool = False

    def run(self, trainer: Trainer) -> LRCurve:
        """Run the sweep. Call it in a hook in which a `Rehearsal` can be entered.

        Points after an early end are NaN. The learning rates are those of ``lrs``, and more if the sweep was extended.
        """
        with (
            progress_line(trainer, len(self.lrs), "LR range test") as line,
            Rehearsal(trainer, self.snapshot_device) as rehearsal,
        ):
            lrs = self.lrs
            result = self._sweep(trainer, rehearsal, lrs, line)
            result = self._without_bad_batch(trainer, rehearsal, lrs, line, result)
            while self._begins_too_high(lrs, result):
                rank_zero_info(
                    f"{self.owner}: the loss changes from lr={lrs[0]:.2g} on, so the sweep is run again from"
                    f" {lrs[0] / EXTENSION:.2g}."
                )
                lrs = np.concatenate([_rising(lrs, below=True), lrs])
                rehearsal.rewind()
                result = self._sweep(trainer, rehearsal, lrs, line)
        return self._curve(lrs, result)

    def _sweep(
        self, trainer: Trainer, rehearsal: Rehearsal, lrs: NDArray[np.float64], line: ProgressLine
    ) -> SweepResult:
        name = self.monitor or "loss"

        def show(lr: float, value: float) -> None:
            line.update(lambda: f"lr={lr:.1e}" + (f" {name}={value:.3g}" if math.isfinite(value) else ""))

        def should_stop(values: Sequence[float]) -> bool:
            costs = self._costs(values)
            if is_far_above_start(lrs, costs):
                return True
            return len(values) >= len(lrs) and not still_falls_at_end(all_lrs[: len(values)], _filled(costs))

        all_lrs = np.concatenate([lrs, _rising(lrs)]) if self.extends else lrs
        sweep = Sweep(
            lrs=all_lrs.tolist(),
            owner=self.owner,
            monitor=self.monitor,
            steps_per_lr=self.steps_per_lr,
            eval_batches=self.eval_batches,
            should_stop=should_stop,
            points_before_error=_POINTS_BEFORE_ERROR,
            on_point=show,
            min_points=len(self.lrs),  # a stream may end in what was added to them
        )
        return sweep.run(trainer, rehearsal)

    def _without_bad_batch(
        self,
        trainer: Trainer,
        rehearsal: Rehearsal,
        lrs: NDArray[np.float64],
        line: ProgressLine,
        result: SweepResult,
    ) -> SweepResult:
        """Sweep once more without the batch at which a loss that had not risen became NaN; keep the longer sweep."""
        step = first_bad_step(self._costs(result.values))
        if step is None or result.error is not None or self.monitor is not None:
            return result
        rehearsal.rewind()
        rehearsal.cache_batches(len(lrs) * trainer.accumulate_grad_batches)
        if not rehearsal.batches.leave_out(step, trainer.accumulate_grad_batches):
            return result
        again = self._sweep(trainer, rehearsal, lrs, line)
        if len(again.values) <= len(result.values):
            return result
        rank_zero_warn(
            f"{self.owner}: the loss of training batch {step} is not finite at any learning rate, so the test leaves it"
            f" out. Training will meet it."
        )
        return again

    def _begins_too_high(self, lrs: NDArray[np.float64], result: SweepResult) -> bool:
        if not self.extends or lrs[0] <= LOWEST_LR:
            return False
        costs = self._costs(result.values)
        num_finite = next((i for i in reversed(range(len(costs))) if math.isfinite(costs[i])), -1) + 1
        return begins_too_high(lrs, _filled(costs[: min(num_finite, len(lrs))]))

    def _curve(self, lrs: NDArray[np.float64], result: SweepResult) -> LRCurve:
        values = result.values
        if math.isfinite(values[-1]) and not is_far_above_start(lrs, self._costs(values)):
            lrs = lrs[: len(values)]  # fewer if a stream has ended
        if len(values) > len(lrs):
            lrs = np.concatenate([lrs, _rising(lrs)])[: len(values)]
            rank_zero_info(
                f"{self.owner}: the loss still fell at max_lr, so the sweep went on to {lrs[len(values) - 1]:.2g}."
            )
        if result.error is not None:
            rank_zero_warn(
                f"{self.owner}: the sweep ended at lr={lrs[len(values) - 1]:.2g}, since training raised"
                f" {result.error}. This counts as a divergence."
            )
        recorded = np.full(len(lrs), np.nan)
        recorded[: len(values)] = _filled(values)
        return LRCurve(lrs, recorded, self.monitor or "loss", self.monitor_mode)

    def _costs(self, values: Sequence[float]) -> list[float]:
        return list(values) if self.monitor_mode == "min" else [-value for value in values]


def _rising(lrs: NDArray[np.float64], below: bool = False) -> NDArray[np.float64]:
    """Four decades of learning rates above or below others, with the same factor from one to the next.

    In a narrow range this would take more steps than the sweep itself. Then the factor is larger, and it takes as many.
    """
    factor = max(float(lrs[1] / lrs[0]), EXTENSION ** (1 / len(lrs)))
    powers = np.arange(1, math.ceil(math.log(EXTENSION) / math.log(factor)) + 1)
    rates: NDArray[np.float64] = lrs[0] * factor ** -powers[::-1] if below else lrs[-1] * factor**powers
    return rates


def _filled(values: Sequence[float]) -> list[float]:
    """The values with interpolated ones in the place of single ones that are not finite. Those at the end stay."""
    filled: list[float] = fill_gaps(np.asarray(values, dtype=np.float64)).tolist()
    return filled


def kind_of_updates(trainer: Trainer, owner: str) -> UpdateKind:
    """That of several optimizers is the one for which the sweep suggests the lowest learning rate.

    Of two that are alike there it is the one that gets the lower share of the middle of the good ones.
    """
    kinds: list[UpdateKind] = []
    for optimizer in filter(has_lr, trainer.optimizers):
        kind = update_kind(optimizer)
        if kind is None:
            name = type(optimizer).__name__
            rank_zero_info(f"{owner} cannot try {name} on a small parameter, so it takes it for one like Adam.")
        kinds.append(kind or "normalized")
    return max(kinds, key=lambda each: (DIVISORS[each], -SHARES.get(each, 1.0)))
