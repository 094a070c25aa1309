"""What suggests a learning rate for a setting: this package, the rules of other libraries, and plain searches.

The rules of other libraries read the sweep that `LRRangeTest` recorded. Rules and plain searches give one learning
rate. It is then the constant rate and the peak of the cycles.

The plain searches train for 100 steps with each rate, for as many rates as a budget allows, and take the one with the
lowest mean loss over the last third. They start from the same weights and train on the same batches.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np

from benchmarks.rival_rules import RIVALS, RivalRule
from benchmarks.suite.engine import train_copies
from benchmarks.suite.finders import find
from benchmarks.suite.leave_one_out import BestTrials
from benchmarks.suite.setting import Setting
from lightning_lr import LRCurve, LRRangeTest, LRSearch, Suggestion
from lightning_lr.optimizers.update_kind import update_kind
from lightning_lr.search.result import SearchResult, highest_peak
from lightning_lr.search.verdicts import score

LOW, HIGH = 1e-7, 10.0  # range of the plain searches, that of `LRRangeTest` and `LRSearch`
TRIAL_STEPS = 100  # of the plain searches
_WORST_SCORE = 1e30  # instead of infinity, which Optuna takes for a failure


class Found(NamedTuple):
    """What a contestant suggests.

    Attributes:
        lr: constant learning rate.
        max_lr: peak of cycles from a quarter of it.
        one_cycle_max_lr: peak of one cycle.
        steps: optimizer steps that it took.
        confident: whether it says that it is sure. None if it never says so.
        best: the best trials, if it is a search of this package.
    """

    lr: float
    max_lr: float
    one_cycle_max_lr: float
    steps: int
    confident: bool | None = None
    best: BestTrials | None = None


@dataclass(frozen=True, eq=False)
class Cell:
    """A setting with the weights and the batches of one seed."""

    setting: Setting
    seed: int

    @cached_property
    def sweep(self) -> tuple[Suggestion, LRCurve, int]:
        """The suggestion of a sweep alone, its curve and its steps."""
        finder, steps = find(self.setting, self.seed, LRRangeTest(verify=False))
        assert finder.result is not None
        return finder.result, finder.result.curve, steps

    @cached_property
    def is_normalized(self) -> bool:
        """Whether an optimizer normalizes its updates, as far as is known."""
        optimizers = self.setting.optimizers(self.setting.build(), 1e-3)
        return any(update_kind(optimizer) in ("normalized", None) for optimizer in optimizers)


Contestant = Callable[[Cell], Found | None]  # None where it finds no learning rate
Search = Callable[[Cell, int], Found]  # of a cell and a budget of optimizer steps


def _range_test(cell: Cell) -> Found:
    finder, steps = find(cell.setting, cell.seed, LRRangeTest())
    assert finder.result is not None
    assert finder.result.search is not None
    return _found(finder.result, steps, _best_trials(cell, finder.result.search))


def _search(cell: Cell) -> Found:
    finder, steps = find(cell.setting, cell.seed, LRSearch())
    assert finder.result is not None
    return _found(finder.result, steps, _best_trials(cell, finder.result))


def _sweep_alone(cell: Cell) -> Found:
    suggestion, _, steps = cell.sweep
    return _found(suggestion, steps)


def _found(suggestion: Suggestion, steps: int, best: BestTrials | None = None) -> Found:
    return Found(suggestion.lr, suggestion.max_lr, suggestion.one_cycle_max_lr, steps, suggestion.confident, best)


def _best_trials(cell: Cell, result: SearchResult) -> BestTrials:
    best = result.candidates[0]
    return BestTrials(result.middle, best.steps, highest_peak(result.candidates), cell.is_normalized)


def _rule(rule: RivalRule, cell: Cell) -> Found | None:
    _, curve, steps = cell.sweep
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the rules divide by and compare with what is not finite
        lr = rule(curve.lrs, curve.losses)
    return None if lr is None or not math.isfinite(lr) else Found(lr, lr, lr, steps)


def _grid(cell: Cell, budget: int) -> Found:
    """The middles of equal parts of the range, so that one trial is in the middle of it."""
    shares = (np.arange(_trials(budget)) + 0.5) / _trials(budget)
    return _best_of(cell, (LOW * (HIGH / LOW) ** shares).tolist())


def _random(cell: Cell, budget: int) -> Found:
    exponents = np.random.default_rng(cell.seed).uniform(math.log(LOW), math.log(HIGH), _trials(budget))
    return _best_of(cell, np.exp(exponents).tolist())


def _tpe(cell: Cell, budget: int) -> Found:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=cell.seed))
    for _ in range(_trials(budget)):
        trial = study.ask()
        (result,) = _scores(cell, [trial.suggest_float("lr", LOW, HIGH, log=True)])
        study.tell(trial, min(result, _WORST_SCORE))
    lr = float(study.best_params["lr"])
    return Found(lr, lr, lr, _trials(budget) * TRIAL_STEPS)


def _trials(budget: int) -> int:
    return max(1, budget // TRIAL_STEPS)


def _best_of(cell: Cell, lrs: list[float]) -> Found:
    lr = lrs[int(np.argmin(_scores(cell, lrs)))]
    return Found(lr, lr, lr, len(lrs) * TRIAL_STEPS)


def _scores(cell: Cell, lrs: list[float]) -> list[float]:
    """The score of a short training with each rate."""
    constant = np.repeat(np.array(lrs)[:, None], TRIAL_STEPS, 1)
    return [score(losses) for losses in train_copies(cell.setting, constant, [cell.seed] * len(lrs))]


RANGE_TEST = "LRRangeTest"
CONTESTANTS: dict[str, Contestant] = {
    RANGE_TEST: _range_test,
    "sweep alone": _sweep_alone,
    "LRSearch": _search,
    **{name: partial(_rule, rule) for name, rule in RIVALS.items()},
}
# Compared by default. The other rules are compared on request.
USUAL_RIVALS = ("Lightning, installed", "fastai valley", "fastai minimum/10")
SEARCHES: dict[str, Search] = {"random": _random, "grid": _grid, "TPE": _tpe}
