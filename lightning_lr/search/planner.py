"""`Planner`: which trials follow in a search, and how long they are."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from lightning_lr.search.lr_grid import LRGrid
from lightning_lr.search.progress import still_falls
from lightning_lr.search.rungs import Rungs
from lightning_lr.search.trial import Outcome, Trial
from lightning_lr.search.verdicts import verdict

# Optimizer steps of a trial in each rung. On the settings of benchmarks/suite range tests have a mean log gap of 0.051,
# in 645 steps. With 180 steps in the second rung it was 0.005 more in 602, with 160 steps 0.011 more in 548. An earlier
# version was no better with 300 and 600 steps in the second and the third rung, for 200 steps more in all.
COARSE_STEPS = 40
FINE_STEPS = 200
LONG_STEPS = 400
# Optimizer steps of all trials together without a budget, at most. Only the first trials of a very wide range can take
# more.
MOST_STEPS = 1400
# With a budget, a rung is given the steps of so many trials that start anew: three, and one beyond an end.
TRIALS_OF_RUNG = 4
# A further rung must be longer than the one before by at least this factor, else it shows little that is new.
MIN_STEPS_RATIO = 1.25
# To be raised when the trials of a search follow by other rules: searches of before are not continued.
PLAN_VERSION = 2
# No learning rate outside of these is tried, even if all others diverge, or if none has learned anything.
LOWEST_LR, HIGHEST_LR = 1e-15, 1e6


@dataclass(frozen=True)
class Planner:
    """Plans the trials of a search. All follows from the outcomes so far.

    Attributes:
        grid: the learning rates that can be tried.
        budget: most optimizer steps of all trials together; None for the steps above.
        every: optimizer steps between two values.
        max_steps: most optimizer steps of one trial; infinite if not known.

    Raises:
        ValueError: if the budget is too small for the first trials and two more.
    """

    grid: LRGrid
    budget: int | None
    every: int
    max_steps: float

    def __post_init__(self) -> None:
        coarse_steps, number = self.rounded(COARSE_STEPS), self.grid.intervals + 1
        if self.budget is not None and self.budget < (least := coarse_steps * (number + 2)):
            raise ValueError(
                f"budget must be at least {least} optimizer steps for the {number} learning rates between"
                f" {self.grid.min_lr:.3g} and {self.grid.max_lr:.3g} and two more, {coarse_steps} each, got"
                f" {self.budget}: raise it, or narrow the range."
            )

    def first(self) -> list[Trial]:
        """The trials of the first rung: the lowest learning rate, then the others from high to low.

        The lowest shows the level by which others are seen to diverge. Trials that diverge cost little, and those that
        are too low are then dropped early.
        """
        order = [0, *range(self.grid.intervals, 0, -1)]
        return [Trial(self.grid.lr(i), 0, self.rounded(COARSE_STEPS)) for i in order]

    def rounded(self, steps: float) -> int:
        """Steps of a trial, rounded up to whole values, as far as ``max_steps`` allows."""
        values = math.ceil(steps / self.every)
        most = values if math.isinf(self.max_steps) else max(1, int(self.max_steps) // self.every)
        return min(values, most) * self.every

    def plan(self, rungs: Rungs, spent: int, can_resume: Collection[float]) -> bool:
        """Add the trials that follow when all trials of a rung were told: one beyond an end, or the next rung.

        Args:
            rungs: the trials so far. What follows is added.
            spent: optimizer steps so far.
            can_resume: learning rates whose next trial goes on from the state in which the one before ended.

        Returns:
            Whether there is any.
        """

        def affords(trials: Sequence[Trial]) -> bool:
            ran = sum(rungs.num_values(trial.lr) * self.every for trial in trials if trial.lr in can_resume)
            most = MOST_STEPS if self.budget is None else self.budget
            return spent + sum(trial.steps for trial in trials) - ran <= most

        best = rungs.best()
        beyond = self._beyond(rungs, best)
        if beyond is not None and affords([beyond]):
            rungs.latest.append(beyond)
            return True
        steps = None if best is None else self._next_steps(rungs, best, spent, best.lr in can_resume)
        if best is None or steps is None:
            return False
        middle = self.grid.index(best.lr)
        neighbours = [self.grid.lr(i) for i in (middle - 1, middle + 1) if self.grid.has(i)]
        trials = [Trial(lr, len(rungs.trials), steps) for lr in (best.lr, *neighbours) if not rungs.has_diverged(lr)]
        if len(trials) == 1 or not affords(trials):
            return False
        rungs.trials.append(trials)
        return True

    def may_follow(self, rungs: Rungs, lr: float) -> bool:
        """Whether a learning rate may be in the next rung: the best one of the last rung or a neighbour.

        It must not have diverged. While the last rung has no best one, each may be.
        """
        best = rungs.best()
        is_near = best is None or abs(self.grid.index(lr) - self.grid.index(best.lr)) <= 1
        return is_near and not rungs.has_diverged(lr)

    def _beyond(self, rungs: Rungs, best: Outcome | None) -> Trial | None:
        """The trial beyond an end of the last rung that it should have too, None if there is none."""
        tried = [self.grid.index(trial.lr) for trial in rungs.latest]
        lowest, highest = min(tried), max(tried)
        if best is None:
            index = lowest - 1
        elif self.grid.index(best.lr) == highest or self._may_learn_above(rungs, best, highest):
            index = highest + 1
        elif self.grid.index(best.lr) == lowest and not self._is_as_good_above(rungs, best):
            index = lowest - 1
        else:
            return None
        lr = self.grid.lr(index)
        if not self.grid.has(index) or not LOWEST_LR <= lr <= HIGHEST_LR or rungs.has_diverged(lr):
            return None
        return replace(rungs.latest[0], lr=lr)

    def _may_learn_above(self, rungs: Rungs, best: Outcome, highest: int) -> bool:
        """Whether the highest trial ends as well as the best one, so that a higher one may leave a plateau.

        In the first rung this counts only if nothing was learned: the steps are kept for the next one.
        """
        if len(rungs.trials) == 1 and rungs.has_learned(rungs.of(0)):
            return False
        return any(self.grid.index(each.lr) == highest and rungs.ends_as_well(each, best) for each in rungs.of(-1))

    def _is_as_good_above(self, rungs: Rungs, best: Outcome) -> bool:
        """Whether the next higher trial is good too, so that a lower one is not better by much.

        In the first rung this does not count: a trial there takes few steps. In longer ones the loss is often flat over
        decades, and the lowest learning rate is slightly better, since it has the least noise.
        """
        if len(rungs.trials) == 1:
            return False
        above = [each for each in rungs.of(-1) if self.grid.index(each.lr) == self.grid.index(best.lr) + 1]
        of_best = rungs.costs(best.values)
        return any(verdict(each.lr, rungs.costs(each.values), each.end, best.lr, of_best) == "good" for each in above)

    def _next_steps(self, rungs: Rungs, best: Outcome, spent: int, resumes: bool) -> int | None:
        """Optimizer steps of the trials of the next rung, None if there is to be none."""
        now, number = best.trial.steps, len(rungs.trials)
        if self.budget is not None:
            wanted = (self.budget - spent) // TRIALS_OF_RUNG + (now if resumes else 0)
            steps = int(min(wanted, self.max_steps)) // self.every * self.every
        elif number == 1:
            steps = self.rounded(FINE_STEPS)
        # By logarithms a third rung would be asked for in twice as many range tests on benchmarks/suite, for up to 600
        # steps each, and the learning rates would be no better. The result is then not confident.
        elif number == 2 and still_falls(rungs.costs(best.values), positive=False):
            steps = self.rounded(LONG_STEPS)
        else:
            return None
        return steps if steps >= MIN_STEPS_RATIO * now else None
