"""`Judge`: whether a trial of a search should end early, and what became of it, given the other trials so far."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lightning_lr.range_test.smoothing import Array
from lightning_lr.search.rungs import Rungs
from lightning_lr.search.trial import Outcome, Trial
from lightning_lr.search.verdicts import End, diverges, is_behind, score


class Judge:
    """Compares the values of a trial with those of the lowest learning rate and of the best one of its rung.

    Args:
        rungs: the trials so far, and their outcomes.
        every: optimizer steps between two values.
    """

    def __init__(self, rungs: Rungs, every: int) -> None:
        self._rungs, self._every = rungs, every
        self._others: dict[Trial, tuple[Array, Array]] = {}  # level and rival of each trial, until another one ends

    def stops(self, trial: Trial, values: Sequence[float]) -> bool:
        """Whether a trial should end with these values: it diverged, or cannot reach the best one of its rung.

        It is compared only after more values than a shorter trial with this learning rate has recorded. So a trial that
        starts anew ends where one that goes on from its last state would.
        """
        if trial not in self._others:
            best = self._rungs.best(trial.rung)
            self._others[trial] = self._level(trial), self._rungs.costs(() if best is None else best.values)
        level, rival = self._others[trial]
        costs = self._rungs.costs(values)
        if diverges(costs, level, self._num_values(trial)):
            return True
        return len(rival) > 0 and len(values) > self._rungs.num_values(trial.lr) and is_behind(costs, rival)

    def outcome(self, trial: Trial, values: Sequence[float], error: str | None) -> Outcome:
        """What became of a trial that has ended.

        Args:
            trial: the trial.
            values: what was recorded, from the common state on. Fewer than planned if it ended early.
            error: the exception by which it ended, as text. Such a trial counts as diverged.

        Raises:
            ValueError: if there are no values or too many.
        """
        total = self._num_values(trial)
        if not 1 <= len(values) <= total:
            raise ValueError(f"{trial} must have 1 to {total} values, got {len(values)}.")
        costs = self._rungs.costs(values)
        end: End = "completed" if len(values) == total else "dropped"
        # At the end of a whole trial, one value that is not finite is taken for the first of several.
        ends_badly = end == "completed" and not math.isfinite(costs[-1])
        final = score(costs)
        if error is not None or ends_badly or final == math.inf or diverges(costs, self._level(trial), total):
            end, final = "diverged", math.inf
        self._others.clear()
        return Outcome(trial, tuple(map(float, values)), final, end, error)

    def _num_values(self, trial: Trial) -> int:
        return trial.steps // self._every

    def _level(self, trial: Trial) -> Array:
        """The costs of the lowest learning rate that did not diverge, if it is below that of a trial."""
        lowest = self._rungs.lowest()
        return self._rungs.costs(() if lowest is None or lowest.lr >= trial.lr else lowest.values)
