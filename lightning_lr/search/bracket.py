"""`Bracket`: a search for a learning rate from coarse to fine, as ask and tell; whoever asks does the training.

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

Losses are of one optimizer step each (or of every few, see ``every``). Several trials of a rung can be run and told
side by side, in any order; `Bracket.state` is plain and can be kept anywhere.

Three rungs, each with the same batches for all of its trials:

1. a grid of half decades, 50 steps each. With fewer, rates that diverge later would win.
2. the best four, 200 steps each, counted from the common state. Who kept the state of step 50 may go on from it.
3. the best one and its two neighbours, a quarter of a decade away, 200 steps each.

Sources: the rungs are successive halving (Kevin Jamieson and Ameet Talwalkar, "Non-stochastic Best Arm Identification
and Hyperparameter Optimization", 2016, arXiv:1502.07943) with few rungs. AutoLRS (Yuchen Jin et al., 2021,
arXiv:2105.10762) probes constant learning rates from one restored state too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, Literal

import numpy as np

from lightning_lr.search.verdicts import Array, End, diverges, is_behind, score

_PER_DECADE = 2
_COARSE_STEPS = 50
_FINE_STEPS = 200
_SURVIVORS = 4


@dataclass(frozen=True)
class Trial:
    """One training to be run, from the state that all trials start from.

    Attributes:
        lr: its learning rate, the same at each step.
        rung: the rung that it belongs to, from 0.
        steps: optimizer steps, counted from the common state.
    """

    lr: float
    rung: int
    steps: int


@dataclass(frozen=True)
class Outcome:
    """What became of a trial.

    Attributes:
        trial: as asked.
        values: what was recorded, from the common state on.
        score: the mean of the last third of them, negated with ``mode="max"``; infinite if it diverged.
        end: whether it ran to its end, diverged or could not catch up.
    """

    trial: Trial
    values: tuple[float, ...]
    score: float
    end: End

    @property
    def lr(self) -> float:
        """The learning rate of the trial."""
        return self.trial.lr


class Bracket:
    """A search from coarse to fine between two learning rates.

    Everything follows from the arguments and from what was told, so that a search can be stored after any trial and
    taken up again.

    Without a ``budget`` the steps are those named above, and what early ends save is not spent. With one, the grid has
    its 50 steps, and all that is then left, what early ends saved included, is shared evenly by the trials of the rungs
    behind it. If that is less than 100 steps each, the second rung is left out and the third one has 50 steps. The
    budget is never exceeded, even if no state is kept and every trial starts from the common one.

    Args:
        min_lr: lowest learning rate of the grid.
        max_lr: highest. Rates outside of the two are never tried.
        budget: optimizer steps at most, all trials together.
        every: optimizer steps between two values: 1 for the training loss.
        mode: whether less (``"min"``) or more (``"max"``) of a value is better.

    Raises:
        ValueError: if the range is none, or the budget is too small for it.
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
        self._budget, self._every, self._sign = budget, every, 1.0 if mode == "min" else -1.0
        intervals = max(1, math.ceil(_PER_DECADE * math.log10(max_lr / min_lr) - 1e-9))
        self._grid: list[float] = np.geomspace(min_lr, max_lr, intervals + 1).tolist()
        self._coarse_steps = self._rounded(_COARSE_STEPS)
        least = self._coarse_steps * (len(self._grid) + 2)
        if budget is not None and budget < least:
            raise ValueError(
                f"budget must be at least {least} optimizer steps for the {len(self._grid)} learning rates between"
                f" {min_lr:.3g} and {max_lr:.3g} and two neighbours of the best, {self._coarse_steps} each, got"
                f" {budget}: raise it, or narrow the range."
            )
        self._spent = 0
        self._told: list[tuple[Trial, int]] = []  # with what each cost, in the order of telling
        self._outcomes: dict[Trial, Outcome] = {}
        # The lowest first, since it shows the level that diverging ones leave. Then from high to low: what diverges
        # costs little, and what is too low has by then something to be compared with.
        order = [self._grid[0], *reversed(self._grid[1:])]
        self._rungs = [[Trial(lr, 0, self._coarse_steps) for lr in order]]
        self._is_last = False  # rung

    @property
    def spent(self) -> int:
        """Optimizer steps so far."""
        return self._spent

    @property
    def most_trials(self) -> int:
        """Trials of the whole search at most."""
        return len(self._grid) + min(_SURVIVORS, len(self._grid)) + 2

    @property
    def longest(self) -> int:
        """Optimizer steps of one trial at most."""
        return self._rounded(_FINE_STEPS) if self._budget is None else max(self._coarse_steps, self._budget // 3)

    @property
    def is_done(self) -> bool:
        """Whether the best learning rate is known."""
        last = len(self._rungs) - 1
        return bool(self.kept(last)) and all(trial in self._outcomes for trial in self._rungs[last])

    @property
    def every(self) -> int:
        """Optimizer steps between two values."""
        return self._every

    @property
    def sign(self) -> float:
        """1 where less is better, else -1."""
        return self._sign

    @property
    def rungs(self) -> list[list[Outcome]]:
        """What was told so far, rung by rung. The best one stands in the last rung again, as it was before."""
        return [[self._outcomes[trial] for trial in rung if trial in self._outcomes] for rung in self._rungs]

    @property
    def told(self) -> list[Outcome]:
        """The outcome of every trial, in the order of telling."""
        return [self._outcomes[trial] for trial, _ in self._told]

    @property
    def best(self) -> Outcome:
        """The best of the last rung; of equal ones the one with the lower learning rate.

        Raises:
            ValueError: if the search is not done, or all learning rates diverged.
        """
        if self.ask():
            raise ValueError("The search is not done: there are trials to be run, see ask().")
        return self.kept(len(self._rungs) - 1)[0]

    def kept(self, rung: int) -> list[Outcome]:
        """Those that go on from a rung as far as it was told, the best first."""
        return self._best_of(self._rungs[rung], self._places(rung))

    def ask(self) -> list[Trial]:
        """The trials that can be run now, in the order that makes early ends likely; none when the search is done.

        They are named again until they are told, so that a trial that was lost is not lost to the search.

        Raises:
            ValueError: if no learning rate of a rung came to its end.
        """
        waiting = [trial for trial in self._rungs[-1] if trial not in self._outcomes]
        if not waiting and not self._best_of(self._rungs[-1], 1):
            lrs = [trial.lr for trial in self._rungs[-1]]
            raise ValueError(
                f"All {len(lrs)} learning rates from {min(lrs):.3g} to {max(lrs):.3g} diverge or fail within"
                f" {self._rungs[-1][0].steps} steps: lower the range, for example to min_lr={min(lrs) / 1e3:.3g},"
                f" max_lr={min(lrs):.3g}, or look for what makes the loss overflow if that diverges too."
            )
        return waiting

    def stops(self, trial: Trial, values: Sequence[float]) -> bool:
        """Whether a trial should end here: it diverged, or cannot come among those that its rung keeps.

        Args:
            trial: as asked.
            values: what was recorded so far, from the common state on, at least one.
        """
        costs = self._costs(values)
        if diverges(costs, self._level(), self._num_values(trial)):
            return True
        kept = self.kept(trial.rung)
        return len(kept) == self._places(trial.rung) and is_behind(costs, self._costs(kept[-1].values))

    def tell(self, trial: Trial, values: Sequence[float], spent: int | None = None) -> None:
        """Take in what became of a trial.

        Args:
            trial: as asked.
            values: what was recorded, from the common state on: all of it, or less if it ended early.
            spent: optimizer steps that it took, if not ``every`` for each value: less if it went on from a state that
                was kept, more if it was stopped a little late.

        Raises:
            ValueError: if it was told before or not asked for, or there are no values or too many.
        """
        if trial not in self._rungs[-1] or trial in self._outcomes:
            raise ValueError(f"{trial} must be one that ask() names now.")
        if not 1 <= len(values) <= self._num_values(trial):
            raise ValueError(f"{trial} must have 1 to {self._num_values(trial)} values, got {len(values)}.")
        spent = len(values) * self._every if spent is None else spent
        self._spent += spent
        self._told.append((trial, spent))
        costs = self._costs(values)
        end: End = "completed" if len(values) == self._num_values(trial) else "behind"
        if not np.all(np.isfinite(costs)) or diverges(costs, self._level(), self._num_values(trial)):
            end = "diverged"
        of_costs = math.inf if end == "diverged" else score(costs)
        self._outcomes[trial] = Outcome(trial, tuple(map(float, values)), of_costs, end)
        if all(each in self._outcomes for each in self._rungs[-1]):
            self._go_on()

    def state(self) -> dict[str, Any]:
        """Numbers, strings, lists and dicts from which `from_state` makes this bracket again."""
        told = [
            {"lr": trial.lr, "values": list(self._outcomes[trial].values), "spent": spent}
            for trial, spent in self._told
        ]
        return {"arguments": dict(self._arguments), "told": told}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Bracket:
        """The bracket as it was when `state` was taken."""
        bracket = cls(**state["arguments"])
        for each in state["told"]:
            (trial,) = (trial for trial in bracket.ask() if trial.lr == each["lr"])
            bracket.tell(trial, each["values"], each["spent"])
        return bracket

    def _go_on(self) -> None:
        """Open the next rung, if there is one."""
        alive = self._best_of(self._rungs[-1], _SURVIVORS)
        if not alive or self._is_last:
            return
        steps = self._fine_steps(len(alive) + 2) if len(self._rungs) == 1 else 0
        if steps >= 2 * self._coarse_steps:
            self._rungs.append([Trial(each.lr, 1, steps) for each in alive])
            return
        self._is_last = True
        best, rung = alive[0], len(self._rungs)
        carried = replace(best.trial, rung=rung)
        self._outcomes[carried] = replace(best, trial=carried)  # it has run as long as its neighbours will
        quarter = math.sqrt(self._grid[1] / self._grid[0])
        neighbours = [lr for lr in (best.lr / quarter, best.lr * quarter) if self._grid[0] < lr < self._grid[-1]]
        self._rungs.append([carried, *(replace(carried, lr=lr) for lr in neighbours)])

    def _fine_steps(self, trials: int) -> int:
        """Steps of each of the trials behind the grid; too few for them if the budget is."""
        if self._budget is None:
            return self._rounded(_FINE_STEPS)
        return (self._budget - self._spent) // trials // self._every * self._every

    def _rounded(self, steps: int) -> int:
        return math.ceil(steps / self._every) * self._every

    def _num_values(self, trial: Trial) -> int:
        return trial.steps // self._every

    def _level(self) -> Array:
        """What the lowest learning rate recorded in the first rung; nothing before that, or if it diverged itself."""
        lowest = self._outcomes.get(self._rungs[0][0])
        return self._costs(lowest.values if lowest is not None and lowest.end != "diverged" else ())

    def _costs(self, values: Sequence[float]) -> Array:
        return self._sign * np.asarray(values, dtype=np.float64)

    def _places(self, rung: int) -> int:
        return _SURVIVORS if rung == 0 else 1

    def _best_of(self, trials: list[Trial], number: int) -> list[Outcome]:
        outcomes = [self._outcomes[trial] for trial in trials if trial in self._outcomes]
        return sorted((each for each in outcomes if each.end == "completed"), key=_rank)[:number]


def _rank(outcome: Outcome) -> tuple[float, float]:
    return outcome.score, outcome.lr
