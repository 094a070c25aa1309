"""Suggestions with constants of the package that are chosen anew without the task that is judged.

Constants turn the best trials of a search into a suggestion (`lightning_lr.search.result`). With l the middle of the
good ones, K their steps and T the steps of the run:

* ``lr = l min(1, K / T)^e`` for optimizers that normalize their updates, such as Adam, with e the ``exponent``;
* ``lr = s l`` for others, with s the ``share``;
* ``max_lr = f l``, and at most the highest peak that the trials allow, with f the ``max_lr_per_middle``.

For each task all are chosen on the runs of all other tasks: first e and s by the mean log gap of the constant rate,
then f by the mean log gap of triangular2 and one cycle. The package has other ones where longer runs or other tasks ask
for them. The rules of the sweep and the lengths of the trials are those of the package. They were chosen with all tasks
in view.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import product
from statistics import fmean
from typing import NamedTuple

from benchmarks.suite.truth import STEPS, truth_of

# Values that are tried.
_EXPONENTS = (0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)
_SHARES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_PER_MIDDLE = (0.7, 1.0, 1.35, 1.7, 2.0)


class BestTrials(NamedTuple):
    """What a suggestion is computed from.

    Attributes:
        middle: the middle of the good ones: `lightning_lr.search.result.SearchResult.middle`.
        steps: optimizer steps of their trials.
        highest_peak: the highest ``max_lr`` that the trials allow: `lightning_lr.search.result.highest_peak`.
        is_normalized: whether the optimizer normalizes its updates.
    """

    middle: float
    steps: int
    highest_peak: float
    is_normalized: bool


class Run(NamedTuple):
    """A search on a setting."""

    setting: str
    best: BestTrials


class Constants(NamedTuple):
    """All constants that are chosen anew.

    Attributes:
        exponent: of the length, for optimizers that normalize their updates.
        share: of the middle of the good ones, for others.
        max_lr_per_middle: the upper bound of cycles, divided by the middle of the good ones.
    """

    exponent: float
    share: float
    max_lr_per_middle: float


def task_of(setting: str) -> str:
    """The task of a setting. Those of ``digits/sgd`` and ``digits/adam`` are the same.

    >>> task_of("digits/sgd"), task_of("gpt")
    ('digits', 'gpt')
    """
    return setting.split("/")[0]


def suggested_lr(best: BestTrials, exponent: float, share: float) -> float:
    """The constant learning rate for a run as long as those that were recorded."""
    return best.middle * (min(1.0, best.steps / STEPS) ** exponent if best.is_normalized else share)


def suggested_max_lr(best: BestTrials, max_lr_per_middle: float) -> float:
    """The upper bound of cycles, and the peak of one cycle."""
    return min(max_lr_per_middle * best.middle, best.highest_peak)


@cache
def constant_gap(run: Run, exponent: float, share: float) -> float:
    """The log gap of the constant learning rate."""
    return truth_of(run.setting)["constant"].gap(suggested_lr(run.best, exponent, share)).log


@cache
def cycle_gap(run: Run, max_lr_per_middle: float) -> float:
    """The mean log gap of triangular2 and one cycle."""
    truth, max_lr = truth_of(run.setting), suggested_max_lr(run.best, max_lr_per_middle)
    return fmean((truth["triangular2"].gap(max_lr).log, truth["one_cycle"].gap(max_lr).log))


def choose(runs: Sequence[Run]) -> Constants:
    """The constants with the lowest mean gap over these runs, the first of those that are equally good."""
    pairs = product(_EXPONENTS, _SHARES)
    exponent, share = min(pairs, key=lambda pair: fmean(constant_gap(run, *pair) for run in runs))
    per_middle = min(_PER_MIDDLE, key=lambda each: fmean(cycle_gap(run, each) for run in runs))
    return Constants(exponent, share, per_middle)


def choose_without_each(runs: Sequence[Run]) -> dict[str, Constants]:
    """For each task, the constants that are chosen on the runs of all others.

    Raises:
        ValueError: if all runs are of one task, so that none is left to choose on.
    """
    tasks = list(dict.fromkeys(task_of(run.setting) for run in runs))
    if len(tasks) < 2:
        raise ValueError(f"runs must be of at least two tasks, got {', '.join(tasks) or 'none'}: add settings.")
    return {task: choose([run for run in runs if task_of(run.setting) != task]) for task in tasks}
