"""Suggestions with constants of the package that are chosen anew without the task that is judged.

Constants turn the best trial of a search into a suggestion (`lightning_lr.search.result`). With l its learning rate, K
its steps and T the steps of the run:

* ``lr = l min(1, K / T)^e``, with e the length exponent, which is another one for optimizers that normalize their
  updates, such as Adam, than for others;
* ``max_lr = f l``, and at most l if the next higher learning rate that was tried diverged, with f the
  ``max_lr_per_best``. The next one that was tried is more than 3 times as high, so it is no limit.

For each task all are chosen on the runs of all other tasks: first both e by the mean log gap of the constant rate, then
f by the mean log gap of triangular2 and one cycle. The package has e = 0.35 and 0, since they must hold for longer runs
too. The rules of the sweep and the lengths of the trials are those of the package. They were chosen with all tasks in
view.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from statistics import fmean
from typing import NamedTuple

from benchmarks.suite.truth import STEPS, truth_of

# Values that are tried. Those of the package are among them.
_EXPONENTS = (0.0, 0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)
_PER_BEST = (0.7, 1.0, 1.35, 1.7, 2.0)


class BestTrial(NamedTuple):
    """What a suggestion is computed from.

    Attributes:
        lr: the learning rate that did best.
        steps: optimizer steps of its trial.
        is_at_edge: whether the next higher learning rate that was tried diverged.
        is_normalized: whether the optimizer normalizes its updates.
    """

    lr: float
    steps: int
    is_at_edge: bool
    is_normalized: bool


class Run(NamedTuple):
    """A search on a setting."""

    setting: str
    best: BestTrial


class Constants(NamedTuple):
    """All constants that are chosen anew.

    Attributes:
        exponent: of the length, for optimizers that do not normalize their updates.
        normalized_exponent: of the length, for those that do.
        max_lr_per_best: the upper bound of cycles for each learning rate that did best.
    """

    exponent: float
    normalized_exponent: float
    max_lr_per_best: float


def task_of(setting: str) -> str:
    """The task of a setting. Those of ``digits/sgd`` and ``digits/adam`` are the same.

    >>> task_of("digits/sgd"), task_of("gpt")
    ('digits', 'gpt')
    """
    return setting.split("/")[0]


def suggested_lr(best: BestTrial, exponent: float) -> float:
    """The constant learning rate for a run as long as those that were recorded."""
    return float(best.lr * min(1.0, best.steps / STEPS) ** exponent)


def suggested_max_lr(best: BestTrial, max_lr_per_best: float) -> float:
    """The upper bound of cycles, and the peak of one cycle."""
    return min(max_lr_per_best, 1.0) * best.lr if best.is_at_edge else max_lr_per_best * best.lr


@cache
def constant_gap(run: Run, exponent: float) -> float:
    """The log gap of the constant learning rate."""
    return truth_of(run.setting)["constant"].gap(suggested_lr(run.best, exponent)).log


@cache
def cycle_gap(run: Run, max_lr_per_best: float) -> float:
    """The mean log gap of triangular2 and one cycle."""
    truth, max_lr = truth_of(run.setting), suggested_max_lr(run.best, max_lr_per_best)
    return fmean((truth["triangular2"].gap(max_lr).log, truth["one_cycle"].gap(max_lr).log))


def choose(runs: Sequence[Run]) -> Constants:
    """The constants with the lowest mean gap over these runs, the first of those that are equally good."""

    def exponent(*, is_normalized: bool) -> float:
        of_kind = [run for run in runs if run.best.is_normalized == is_normalized] or runs
        return min(_EXPONENTS, key=lambda each: fmean(constant_gap(run, each) for run in of_kind))

    per_best = min(_PER_BEST, key=lambda each: fmean(cycle_gap(run, each) for run in runs))
    return Constants(exponent(is_normalized=False), exponent(is_normalized=True), per_best)


def choose_without_each(runs: Sequence[Run]) -> dict[str, Constants]:
    """For each task, the constants that are chosen on the runs of all others.

    Raises:
        ValueError: if all runs are of one task, so that none is left to choose on.
    """
    tasks = list(dict.fromkeys(task_of(run.setting) for run in runs))
    if len(tasks) < 2:
        raise ValueError(f"runs must be of at least two tasks, got {', '.join(tasks) or 'none'}: add settings.")
    return {task: choose([run for run in runs if task_of(run.setting) != task]) for task in tasks}
