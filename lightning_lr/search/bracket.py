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
    search_result(bracket, run_steps=10_000).lr

Each loss is that of one optimizer step, or of every few steps (see ``every``). The trials that `ask` names can be run
side by side and told in any order. `Bracket.state` holds plain types only, so it can be stored in any format.

All learning rates lie on one grid of half decades (`LRGrid`). All trials of a rung see the same batches (`Planner`):

1. the grid between ``min_lr`` and ``max_lr``, 40 steps each.
2. the best one and its two neighbours, 200 steps each, counted from the common state. If their states of step 40 were
   kept, they may go on from there.
3. the same with 400 steps, only if the best one still falls steeply after 200 (`progress.still_falls`).

While the best one of a rung is at an end of what was tried, the search goes on beyond it, down in longer trials only if
the next higher one is not good too. It goes up while the highest one ends as well as the best, down if all diverged. If
nothing was learned and a higher one does worse, the highest that ends as well is the best: lower ones learn later.

Sources: longer and longer trials of fewer and fewer learning rates are successive halving (Kevin Jamieson and Ameet
Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", 2016, arXiv:1502.07943). AutoLRS
(Yuchen Jin et al., 2021, arXiv:2105.10762) probes constant learning rates from one restored state too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from lightning_lr import arguments as arg
from lightning_lr.search.judge import Judge
from lightning_lr.search.lr_grid import LRGrid
from lightning_lr.search.planner import LONG_STEPS, PLAN_VERSION, Planner
from lightning_lr.search.rungs import Rungs
from lightning_lr.search.trial import Outcome, Trial

MAX_BUDGET = 10**9  # optimizer steps: no search is as long
_TRIAL = arg.instance_of(Trial, what="a Trial that ask() named")
_VALUES = arg.list_of(arg.real, "a list of numbers", at_least=0)


@arg.checked(
    min_lr=arg.learning_rate,
    max_lr=arg.learning_rate,
    budget=arg.optional(arg.whole(at_least=1, at_most=MAX_BUDGET)),
    every=arg.whole(at_least=1, at_most=arg.MAX_SPACING),
    mode=arg.choice(("min", "max")),
    extends=arg.flag,
    max_steps=arg.optional(arg.whole(at_least=1)),
    resumes_trials=arg.flag,
)
class Bracket:
    """A search from coarse to fine that begins between two learning rates.

    All follows from the arguments and from what was told. So a search can be stored after any trial and continued.

    Without a ``budget`` the steps are those named above, and steps that early ends save are not spent. After the first
    trials, no more are planned than fit into 1400 steps in all. With a budget, each rung after the first one is as long
    as the rest of the budget allows, and there are more rungs until too little is left. The budget is never exceeded.

    Args:
        min_lr: lowest learning rate of the grid at the start.
        max_lr: highest.
        budget: most optimizer steps of all trials together.
        every: optimizer steps between two values: 1 for the training loss.
        mode: whether less (``"min"``) or more (``"max"``) of a value is better.
        extends: whether learning rates beyond ``min_lr`` and ``max_lr`` are tried too, as described above.
        max_steps: most optimizer steps of one trial: those of the run that it is for. None if not known.
        resumes_trials: whether a trial of a later rung goes on from the state in which a shorter one ended. If not, it
            takes all its steps once more.

    Attributes:
        every: optimizer steps between two values.
        sign: 1 where less is better, else -1.
        resumes_trials: as in the arguments. It may be changed before the first trial is told.

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
        extends: bool = True,
        max_steps: int | None = None,
        resumes_trials: bool = False,
    ) -> None:
        self._arguments = {name: value for name, value in locals().items() if name not in ("self", "resumes_trials")}
        if max_lr <= min_lr:
            raise arg.refuse("max_lr", f"be above min_lr={min_lr}", max_lr)
        self.every, self.sign, self.resumes_trials = every, 1.0 if mode == "min" else -1.0, resumes_trials
        self._grid = LRGrid.between(min_lr, max_lr, extends)
        self._planner = Planner(self._grid, budget, every, math.inf if max_steps is None else max_steps)
        self._rungs = Rungs(self._planner.first(), self.sign)
        self._judge = Judge(self._rungs, every)
        self._spent_on: list[int] = []  # optimizer steps, in the order of telling
        self._can_resume: set[float] = set()  # learning rates of trials whose last state is worth keeping

    @property
    def spent(self) -> int:
        """Optimizer steps so far."""
        return sum(self._spent_on)

    @property
    def num_planned(self) -> int:
        """The number of trials that were told or are waiting."""
        return sum(map(len, self._rungs.trials))

    @property
    def longest(self) -> int:
        """The most optimizer steps that one trial can have."""
        return self._planner.rounded(LONG_STEPS if self._planner.budget is None else self._planner.budget)

    @property
    def min_lr(self) -> float:
        """The lowest learning rate at the start."""
        return self._grid.min_lr

    @property
    def is_done(self) -> bool:
        """Whether the best learning rate is known."""
        return not self._rungs.waiting and self._rungs.final() is not None

    @property
    def rungs(self) -> list[list[Outcome]]:
        """The outcomes so far, rung by rung."""
        return [self._rungs.of(rung) for rung in range(len(self._rungs.trials))]

    @property
    def told(self) -> list[Outcome]:
        """The outcome of every trial, in the order of telling."""
        return list(self._rungs.outcomes.values())

    @property
    def best(self) -> Outcome:
        """The best of the last rung. Of equal ones it is that with the lower learning rate; on a plateau, the highest.

        If all of the last rung diverged, it is the best of the rung before, of the learning rates below all that did.

        Raises:
            ValueError: if the search is not done, or all learning rates diverged.
        """
        best = self._rungs.final()
        if self.ask() or best is None:
            raise ValueError("The search is not done: there are trials to be run, see ask().")
        return best

    @property
    def lowest_diverged(self) -> float:
        """The lowest learning rate that diverged, infinite if there is none."""
        return self._rungs.lowest_diverged

    @arg.checked(rung=arg.whole(at_least=0))
    def best_of_rung(self, rung: int) -> Outcome | None:
        """The best of a rung so far, None if no trial of it has run all its steps."""
        if rung >= len(self._rungs.trials):
            raise arg.refuse("rung", f"be below {len(self._rungs.trials)}, the number of rungs", rung)
        return self._rungs.best(rung)

    @arg.checked(lr=arg.learning_rate)
    def may_continue(self, lr: float) -> bool:
        """Whether a learning rate may go on from the state in which its last trial ended.

        The best one so far and its two neighbours go on in the next rung, if there is one.
        """
        waiting = {trial.lr for trial in self._rungs.waiting}
        rung_has_begun = bool(self._rungs.of(-1))
        return lr in waiting or bool(waiting and rung_has_begun and self._planner.may_follow(self._rungs, lr))

    def ask(self) -> list[Trial]:
        """The trials that can be run now, in the order that makes early ends likely. None when the search is done.

        A trial is named again until it is told. So one that was lost can be run again.

        Raises:
            ValueError: if all learning rates diverged.
        """
        waiting = self._rungs.waiting
        if not waiting and self._rungs.final() is None:
            raise self._rungs.all_diverged(went_lower=self._grid.extends)
        return waiting

    @arg.checked(trial=_TRIAL, values=arg.list_of(arg.real, "a list of at least one number"))
    def stops(self, trial: Trial, values: Sequence[float]) -> bool:
        """Whether a trial should end here: it diverged, or cannot reach the best one of its rung so far.

        Args:
            trial: one that `ask` named.
            values: what was recorded so far, from the common state on, at least one.
        """
        return self._judge.stops(trial, values)

    @arg.checked(trial=_TRIAL, values=_VALUES, spent=arg.optional(arg.whole(at_least=0)), error=arg.optional(arg.text))
    def tell(self, trial: Trial, values: Sequence[float], spent: int | None = None, error: str | None = None) -> None:
        """Record the values of a trial that has ended.

        Args:
            trial: one that `ask` named.
            values: what was recorded, from the common state on. Fewer than planned if it ended early.
            spent: optimizer steps that it took. None for ``every`` steps a value. They are fewer if it went on from a
                state that was kept, and more if it was stopped late.
            error: the exception by which a trial ended, as text. Such a trial counts as diverged.

        Raises:
            ValueError: if `ask` does not name the trial now, or there are no values or too many.
        """
        if trial not in self._rungs.waiting:
            raise ValueError(f"{trial} must be one that ask() names now.")
        self._rungs.outcomes[trial] = self._judge.outcome(trial, values, error)
        self._spent_on.append(len(values) * self.every if spent is None else spent)
        waiting = {each.lr for each in self._rungs.waiting}
        self._can_resume = {
            lr for lr in (*self._can_resume, trial.lr) if lr in waiting or self._planner.may_follow(self._rungs, lr)
        }
        if not waiting:
            self._planner.plan(self._rungs, self.spent, self._can_resume if self.resumes_trials else set())

    def state(self) -> dict[str, Any]:
        """Numbers, strings, lists and dicts from which `from_state` restores this bracket."""
        told = [each.plain(spent) for each, spent in zip(self.told, self._spent_on, strict=True)]
        arguments = self._arguments | {"resumes_trials": self.resumes_trials}
        return {"arguments": arguments, "told": told, "plan": PLAN_VERSION}

    @classmethod
    @arg.checked(state=arg.instance_of(Mapping, what="what Bracket.state gave"))
    def from_state(cls, state: Mapping[str, Any]) -> Bracket:
        """The bracket as it was when `state` was taken, by this version of the package."""
        try:
            bracket = cls(**state["arguments"])
            for each in state["told"]:
                lr = each["lr"]  # other versions may round otherwise
                (trial,) = (trial for trial in bracket.ask() if math.isclose(trial.lr, lr, rel_tol=1e-9))
                bracket.tell(trial, each["values"], each.get("spent"), each.get("error"))
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            what = f"{type(error).__name__}: {str(error).rstrip('.')}"
            raise ValueError(f"state must be what Bracket.state gave, got one that raises {what}.") from error
        return bracket
