"""`Rungs`: the trials of a search, rung by rung, and what became of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from lightning_lr.range_test.smoothing import Array
from lightning_lr.search.progress import has_learned, negligible
from lightning_lr.search.trial import Outcome, Trial, quoted_error


class Rungs:
    """The trials of a search and their outcomes.

    Args:
        first: the trials of the first rung.
        sign: 1 where less is better, else -1.

    Attributes:
        trials: the trials of each rung, in the order in which they should be run.
        outcomes: what became of those that were told, in the order of telling.
    """

    def __init__(self, first: list[Trial], sign: float) -> None:
        self.trials = [first]
        self._sign = sign
        self.outcomes: dict[Trial, Outcome] = {}

    @property
    def latest(self) -> list[Trial]:
        """The trials of the last rung."""
        return self.trials[-1]

    @property
    def waiting(self) -> list[Trial]:
        """The trials that were not told. They are all in the last rung."""
        return [trial for trial in self.latest if trial not in self.outcomes]

    def of(self, rung: int) -> list[Outcome]:
        """The outcomes of a rung so far."""
        return [self.outcomes[trial] for trial in self.trials[rung] if trial in self.outcomes]

    def best(self, rung: int = -1) -> Outcome | None:
        """The best outcome of a rung so far, None if none has run all its steps. Of equal ones the lower rate.

        A learning rate above one that diverged counts only if there is no other. Such trainings may survive the first
        steps by chance, and end in a worse valley. If none that counts has learned anything and a higher one does
        worse, it is the highest of those that end as well as the best: on a plateau lower ones learn even later.
        """
        completed = [outcome for outcome in self.of(rung) if outcome.end == "completed"]
        below = [outcome for outcome in completed if outcome.lr < self.lowest_diverged]
        best = min(below or completed, key=lambda outcome: (outcome.score, outcome.lr), default=None)
        if best is None or not below or self.has_learned(below):
            return best
        highest = max((each for each in below if self.ends_as_well(each, best)), key=lambda each: each.lr)
        has_edge = self.lowest_diverged < math.inf or any(each.lr > highest.lr for each in self.of(rung))
        return highest if has_edge else best

    def ends_as_well(self, outcome: Outcome, best: Outcome) -> bool:
        """Whether a trial is as good as the best one and lies below all that diverged: see `progress.negligible`."""
        is_counted = outcome.end == "completed" and outcome.lr < self.lowest_diverged
        return is_counted and outcome.score <= best.score + negligible(self.costs(best.values))

    def has_learned(self, outcomes: Iterable[Outcome]) -> bool:
        """Whether any of these trials has learned anything."""
        return any(has_learned(self.costs(outcome.values)) for outcome in outcomes)

    def costs(self, values: Sequence[float]) -> Array:
        """What was recorded of a trial, negated where more is better."""
        return self._sign * np.asarray(values, dtype=np.float64)

    def final(self) -> Outcome | None:
        """The best outcome of the last rung that has one.

        In an earlier rung only learning rates below all that diverged count: the others would do so in longer trials.
        """
        latest, *earlier = [self.best(rung) for rung in reversed(range(len(self.trials)))]
        if latest is not None:
            return latest
        return next((best for best in earlier if best is not None and best.lr < self.lowest_diverged), None)

    def lowest(self) -> Outcome | None:
        """The longest trial of the lowest learning rate that did not diverge."""
        outcomes = [outcome for outcome in self.outcomes.values() if outcome.end != "diverged"]
        return min(outcomes, key=lambda outcome: (outcome.lr, -len(outcome.values)), default=None)

    @property
    def lowest_diverged(self) -> float:
        """The lowest learning rate that diverged, infinite if there is none."""
        return min((outcome.lr for outcome in self.outcomes.values() if outcome.end == "diverged"), default=math.inf)

    def has_diverged(self, lr: float) -> bool:
        """Whether a trial with this learning rate has diverged."""
        return any(outcome.end == "diverged" for outcome in self.outcomes.values() if outcome.lr == lr)

    def all_diverged(self, went_lower: bool) -> ValueError:
        """The error of a search that ends without a best trial.

        Args:
            went_lower: whether the search has gone below its range by itself. If not, the error advises it.
        """
        lrs = {trial.lr for trial in self.outcomes}
        lower = f"lower the range, for example to min_lr={min(lrs) / 1e3:.3g}, max_lr={min(lrs):.3g}, or "
        return ValueError(
            f"All {len(lrs)} learning rates from {min(lrs):.3g} to {max(lrs):.3g} diverge or fail within"
            f" {self.latest[0].steps} steps: {'' if went_lower else lower}look for what makes the loss overflow."
            f"{quoted_error(self.outcomes.values())}"
        )

    def num_values(self, lr: float) -> int:
        """The most values that a trial with this learning rate has recorded."""
        return max((len(outcome.values) for outcome in self.outcomes.values() if outcome.lr == lr), default=0)
