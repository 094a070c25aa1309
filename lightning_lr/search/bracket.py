"""`Bracket`: a search for a learning rate from coarse to fine, as ask and tell. The caller does the training.

    bracket = Bracket(min_lr=1e-6, max_lr=1.0)
    while trials := bracket.ask():  # all that can be run now, side by side or in turn
        for trial in trials:
            losses = []
            for loss in train_from_the_common_state(trial.lr, trial.steps):
                losses.append(loss)
                if bracket.stops(trial, losses):
                    break
            bracket.tell(trial, losses)
    bracket.best.lr

Each loss is that of one optimizer step, or of every few steps (see ``every``). The trials of a rung can be run side by
side and told in any order. `Bracket.state` holds plain types only, so it can be stored in any format.

There are three rungs. All trials of a rung see the same batches:

1. a grid of half decades, 50 steps each.
2. the best four, 200 steps each, counted from the common state. If their states of step 50 were kept, they may go on
   from there.
3. the best one and its two neighbours, a quarter of a decade away, 200 steps each.

Sources: the rungs are successive halving (Kevin Jamieson and Ameet Talwalkar, "Non-stochastic Best Arm Identification
and Hyperparameter Optimization", 2016, arXiv:1502.07943) with few rungs. AutoLRS (Yuchen Jin et al., 2021,
arXiv:2105.10762) probes constant learning rates from one restored state too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any, Literal

import numpy as np

from lightning_lr.range_test.smoothing import Array
from lightning_lr.search.trial import Outcome, Trial, quoted_error
from lightning_lr.search.verdicts import End, diverges, is_behind, score

# Learning rates of the grid in a factor of 10.
LRS_PER_DECADE = 2
# Optimizer steps of a trial in the first rung. Measured: after 20 to 30 steps, learning rates win that diverge later;
# 50 is the least that does well.
COARSE_STEPS = 50
# Optimizer steps of a trial in the later rungs. Measured: 200 is good.
FINE_STEPS = 200
# Learning rates that go on from the first rung.
SURVIVORS = 4
# Learning rates tried beside the best one in the last rung.
NEIGHBOURS = 2
# The second rung is left out if the budget gives its trials less than so many times the steps of the first rung.
MIN_STEPS_RATIO = 2


class Bracket:
    """A search from coarse to fine between two learning rates.

    All follows from the arguments and from what was told. So a search can be stored after any trial and continued.

    Without a ``budget`` the steps are those named above, and steps that early ends save are not spent. With a budget,
    the trials of the first rung have 50 steps each. The trials of the later rungs share evenly what is then left, with
    the steps that early ends have saved. If that is less than 100 steps each, the second rung is left out and the third
    one has 50 steps. The budget is never exceeded, even if no state is kept and every trial starts from the common one.

    Args:
        min_lr: lowest learning rate of the grid.
        max_lr: highest. No learning rate outside of the two is tried.
        budget: most optimizer steps of all trials together.
        every: optimizer steps between two values: 1 for the training loss.
        mode: whether less (``"min"``) or more (``"max"``) of a value is better.

    Attributes:
        every: optimizer steps between two values.
        sign: 1 where less is better, else -1.

    Raises:
        ValueError: unless ``0 < min_lr < max_lr``, both finite, or if the budget is too small for the range.
    """

    def __init__(
        self,
        min_lr: float = 1e-7,
        max_lr: float = 10.0,
        budget: int | None = None,
        every: int = 1,
        mode: Literal["min", "max"] = "min",
    ) -> None:
        self._arguments = {"min_lr": min_lr, "max_lr": max_lr, "budget": budget, "every": every, "mode": mode}
        _check_arguments(min_lr, max_lr, budget, every, mode)
        self.every, self.sign = every, 1.0 if mode == "min" else -1.0
        self._budget = budget
        intervals = max(1, math.ceil(LRS_PER_DECADE * math.log10(max_lr / min_lr) - 1e-9))  # 1e-9: a rounding error
        self._grid: list[float] = np.geomspace(min_lr, max_lr, intervals + 1).tolist()
        self._coarse_steps = self._rounded(COARSE_STEPS)
        least = self._coarse_steps * (len(self._grid) + NEIGHBOURS)
        if budget is not None and budget < least:
            raise ValueError(
                f"budget must be at least {least} optimizer steps for the {len(self._grid)} learning rates between"
                f" {min_lr:.3g} and {max_lr:.3g} and two neighbours of the best, {self._coarse_steps} each, got"
                f" {budget}: raise it, or narrow the range."
            )
        self._spent = 0
        self._told: list[tuple[Trial, int]] = []  # with the steps spent on each, in the order of telling
        self._outcomes: dict[Trial, Outcome] = {}
        # The lowest first: it shows the level by which others are seen to diverge. Then from high to low: trials that
        # diverge cost little, and those that are too low are then dropped early.
        order = [self._grid[0], *reversed(self._grid[1:])]
        self._rungs = [[Trial(lr, 0, self._coarse_steps) for lr in order]]
        self._is_last_rung = False

    @property
    def spent(self) -> int:
        """Optimizer steps so far."""
        return self._spent

    @property
    def most_trials(self) -> int:
        """The most trials that the whole search can have."""
        return len(self._grid) + min(SURVIVORS, len(self._grid)) + NEIGHBOURS

    @property
    def min_lr(self) -> float:
        """The lowest learning rate of the grid."""
        return self._grid[0]

    @property
    def longest(self) -> int:
        """The most optimizer steps that one trial can have."""
        return self._rounded(FINE_STEPS) if self._budget is None else max(self._coarse_steps, self._budget // 3)

    @property
    def is_done(self) -> bool:
        """Whether the best learning rate is known."""
        last = len(self._rungs) - 1
        return bool(self.kept(last)) and all(trial in self._outcomes for trial in self._rungs[last])

    @property
    def rungs(self) -> list[list[Outcome]]:
        """The outcomes so far, rung by rung. The last rung holds the best one of the rung before it once more."""
        return [[self._outcomes[trial] for trial in rung if trial in self._outcomes] for rung in self._rungs]

    @property
    def told(self) -> list[Outcome]:
        """The outcome of every trial, in the order of telling."""
        return [self._outcomes[trial] for trial, _ in self._told]

    @property
    def best(self) -> Outcome:
        """The best of the last rung. Of equal ones it is that with the lower learning rate.

        Raises:
            ValueError: if the search is not done, or all learning rates diverged.
        """
        if self.ask():
            raise ValueError("The search is not done: there are trials to be run, see ask().")
        return self.kept(len(self._rungs) - 1)[0]

    def kept(self, rung: int) -> list[Outcome]:
        """The outcomes that go on from a rung, judged by what was told so far, the best first."""
        return self._best_of(self._rungs[rung], self._num_kept(rung))

    def ask(self) -> list[Trial]:
        """The trials that can be run now, in the order that makes early ends likely. None when the search is done.

        A trial is named again until it is told. So one that was lost can be run again.

        Raises:
            ValueError: if all learning rates of a rung diverged.
        """
        waiting = [trial for trial in self._rungs[-1] if trial not in self._outcomes]
        if not waiting and not self._best_of(self._rungs[-1], 1):
            lrs = [trial.lr for trial in self._rungs[-1]]
            raise ValueError(
                f"All {len(lrs)} learning rates from {min(lrs):.3g} to {max(lrs):.3g} diverge or fail within"
                f" {self._rungs[-1][0].steps} steps: lower the range, for example to min_lr={min(lrs) / 1e3:.3g},"
                f" max_lr={min(lrs):.3g}. If those diverge too, look for what makes the loss overflow."
                f"{quoted_error(self._outcomes.values())}"
            )
        return waiting

    def stops(self, trial: Trial, values: Sequence[float]) -> bool:
        """Whether a trial should end here: it diverged, or cannot come among those that its rung keeps.

        Args:
            trial: one that `ask` named.
            values: what was recorded so far, from the common state on, at least one.
        """
        costs = self._costs(values)
        if diverges(costs, self._level(), self._num_values(trial)):
            return True
        kept = self.kept(trial.rung)
        return len(kept) == self._num_kept(trial.rung) and is_behind(costs, self._costs(kept[-1].values))

    def tell(self, trial: Trial, values: Sequence[float], spent: int | None = None, error: str | None = None) -> None:
        """Record the values of a trial that has ended.

        Args:
            trial: one that `ask` named.
            values: what was recorded, from the common state on. Fewer than planned if it ended early.
            spent: optimizer steps that it took. None for ``every`` steps a value. They are fewer if it went on from a
                state that was kept, and more if it was stopped late.
            error: the exception by which a diverged trial ended, as text.

        Raises:
            ValueError: if `ask` does not name the trial now, or there are no values or too many.
        """
        if trial not in self._rungs[-1] or trial in self._outcomes:
            raise ValueError(f"{trial} must be one that ask() names now.")
        if not 1 <= len(values) <= self._num_values(trial):
            raise ValueError(f"{trial} must have 1 to {self._num_values(trial)} values, got {len(values)}.")
        spent = len(values) * self.every if spent is None else spent
        self._spent += spent
        self._told.append((trial, spent))
        costs = self._costs(values)
        end: End = "completed" if len(values) == self._num_values(trial) else "dropped"
        if not np.all(np.isfinite(costs)) or diverges(costs, self._level(), self._num_values(trial)):
            end = "diverged"
        final = math.inf if end == "diverged" else score(costs)
        self._outcomes[trial] = Outcome(trial, tuple(map(float, values)), final, end, error)
        if all(each in self._outcomes for each in self._rungs[-1]):
            self._open_next_rung()

    def state(self) -> dict[str, Any]:
        """Numbers, strings, lists and dicts from which `from_state` restores this bracket."""
        told = [self._outcomes[trial].plain(spent) for trial, spent in self._told]
        return {"arguments": dict(self._arguments), "told": told}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Bracket:
        """The bracket as it was when `state` was taken."""
        bracket = cls(**state["arguments"])
        for each in state["told"]:
            (trial,) = (trial for trial in bracket.ask() if trial.lr == each["lr"])
            bracket.tell(trial, each["values"], each["spent"], each.get("error"))
        return bracket

    def _open_next_rung(self) -> None:
        """Open the next rung, if there is one."""
        alive = self._best_of(self._rungs[-1], SURVIVORS)
        if not alive or self._is_last_rung:
            return
        steps = self._fine_steps(len(alive) + NEIGHBOURS) if len(self._rungs) == 1 else 0
        if steps >= MIN_STEPS_RATIO * self._coarse_steps:
            self._rungs.append([Trial(each.lr, 1, steps) for each in alive])
            return
        self._is_last_rung = True
        best, rung = alive[0], len(self._rungs)
        carried = replace(best.trial, rung=rung)
        self._outcomes[carried] = replace(best, trial=carried)  # its neighbours will have as many steps
        quarter = math.sqrt(self._grid[1] / self._grid[0])
        neighbours = [lr for lr in (best.lr / quarter, best.lr * quarter) if self._grid[0] < lr < self._grid[-1]]
        self._rungs.append([carried, *(replace(carried, lr=lr) for lr in neighbours)])

    def _fine_steps(self, trials: int) -> int:
        """Optimizer steps of each of the trials after the first rung, as far as the budget allows."""
        if self._budget is None:
            return self._rounded(FINE_STEPS)
        return (self._budget - self._spent) // trials // self.every * self.every

    def _rounded(self, steps: int) -> int:
        return math.ceil(steps / self.every) * self.every

    def _num_values(self, trial: Trial) -> int:
        return trial.steps // self.every

    def _level(self) -> Array:
        """The costs of the lowest learning rate in the first rung. Empty before they are told, or if it diverged."""
        lowest = self._outcomes.get(self._rungs[0][0])
        return self._costs(lowest.values if lowest is not None and lowest.end != "diverged" else ())

    def _costs(self, values: Sequence[float]) -> Array:
        return self.sign * np.asarray(values, dtype=np.float64)

    def _num_kept(self, rung: int) -> int:
        return SURVIVORS if rung == 0 else 1

    def _best_of(self, trials: list[Trial], number: int) -> list[Outcome]:
        outcomes = [self._outcomes[trial] for trial in trials if trial in self._outcomes]
        completed = [outcome for outcome in outcomes if outcome.end == "completed"]
        return sorted(completed, key=lambda outcome: (outcome.score, outcome.lr))[:number]


def _check_arguments(min_lr: float, max_lr: float, budget: int | None, every: int, mode: str) -> None:
    for name, number in (("min_lr", min_lr), ("max_lr", max_lr)):
        if isinstance(number, bool) or not isinstance(number, Real):
            raise ValueError(f"{name} must be a number, got {number!r}.")
    if budget is not None and (isinstance(budget, bool) or not isinstance(budget, int)):
        raise ValueError(f"budget must be a whole number of optimizer steps, got {budget!r}.")
    if not 0 < min_lr < math.inf:
        raise ValueError(f"min_lr must be finite and above 0, got {min_lr}.")
    if not min_lr < max_lr < math.inf:
        raise ValueError(f"max_lr must be finite and above min_lr={min_lr}, got {max_lr}.")
    if every < 1:
        raise ValueError(f"every must be at least 1 optimizer step, got {every}.")
    if mode not in ("min", "max"):
        raise ValueError(f"mode must be 'min' or 'max', got {mode!r}.")
