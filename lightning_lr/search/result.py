"""`SearchResult`: what a search found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import get_args

import numpy as np

from lightning_lr.arguments import checked, choice, instance_of, number_or_infinity
from lightning_lr.optimizers.update_kind import UpdateKind
from lightning_lr.range_test.suggestion import Suggestion, with_bounds
from lightning_lr.search.bracket import Bracket
from lightning_lr.search.leaderboard import Candidate, leaderboard
from lightning_lr.search.progress import are_positive, has_learned, last_quarters, still_falls

# The best constant learning rate of optimizers that normalize their updates falls with the length of a run T as T^-e.
# Measured on ten settings of benchmarks/suite with Adam or Lion, with the best rate of runs of 200 steps in runs of
# 2400: the mean log gap is 0.202 with e = 0, 0.122 with 0.35 and 0.119 with 0.5. Single ones have exponents from -0.5
# to 0.9. Johan Bjorck et al. ("Scaling Optimal LR Across Token Horizons", 2025, arXiv:2409.19913) found 0.32 for
# language models.
LENGTH_EXPONENT = 0.35
# For other optimizers, the share of l, the middle of the good ones, that a run of any length gets. Updates of SGD
# shrink as the gradients do, and those of Adagrad by themselves. So what limits their rate is the edge of stability,
# which stays where it is. On the settings as above, with 0.35 for all, eleven with SGD, momentum or Adagrad have 0.118,
# and as it is 0.031. SGD gets a margin below the edge: in runs of 600 steps on seven of benchmarks/workloads, with and
# without momentum, the mean log gap is 0.101 with a share of 1, 0.055 with 0.8 and 0.022 with 0.6, on those of the
# suite it is 0.033, 0.045 and 0.071.
SHARES: dict[UpdateKind, float] = {"gradient": 0.75, "momentum": 0.75, "shrinking": 1.0}
# No longer runs were measured, so longer ones get the learning rate of this length.
LONGEST_MEASURED = 19200
# max_lr is at most 2.5 lr and 1.7 l. In runs of 600 steps on the settings of benchmarks/suite both are about the same:
# docs/results.md has other factors. On 21 of the settings, with l of runs of 200 steps, one cycle has a mean log gap of
# 0.058 with the lower one in runs of 300 steps, and of 0.122 in runs of 2400. With 2.5 l (K / T)^0.35 for all
# optimizers it is 0.119 and 0.158. That of a sweep alone is lower, since that is less certain.
MAX_LR_PER_LR = 2.5
MAX_LR_PER_MIDDLE = 1.7


@dataclass(frozen=True)
class SearchResult(Suggestion):
    """The learning rate for a run, the bounds of a cycle that go with it, and all learning rates that were tried.

    l is the middle of the good ones: the geometric mean of the best learning rate and the next higher one, if that is
    good too after as many steps, else the best one. K are the optimizer steps of these trials, and T those of the run,
    counted as at most 19200.

    ``lr`` is ``l (K / T)^0.35`` for optimizers that normalize their updates, such as Adam, and l if T is not known or
    not above K. It is 0.75 l for SGD, with or without momentum, and l for Adagrad. ``max_lr`` is the lower one of 2.5
    lr and 1.7 l, and at most the first higher learning rate that did worse, or the one below that if it diverged. It is
    not above the highest one that was tried.

    Attributes:
        candidates: every learning rate that was tried, the best first.
        good_lrs: the best learning rate, and the next higher one if that is good too after as many steps.
        steps: optimizer steps of all trials.
    """

    candidates: tuple[Candidate, ...] = field(repr=False)  # they hold every loss of every trial
    good_lrs: tuple[float, ...]
    steps: int

    @property
    def middle(self) -> float:
        """The geometric mean of ``good_lrs``.

        Learning rates are tried at most half a decade apart, and good ones differ by little more than chance. So the
        middle of two good ones is nearer to the best of all learning rates than the better one of them. On the settings
        of benchmarks/suite range tests have a mean log gap of 0.051 instead of 0.054, and of 0.069 instead of 0.074 for
        one cycle. On 44 other trainings, on which this was not chosen, it is 0.084 instead of 0.090 over all schedules.
        """
        return _middle(self.good_lrs)


@checked(
    bracket=instance_of(Bracket, what="a Bracket"),
    run_steps=number_or_infinity(at_least=1),
    update=choice(get_args(UpdateKind)),
)
def search_result(bracket: Bracket, run_steps: float = math.inf, update: UpdateKind = "normalized") -> SearchResult:
    """The result of a search that is done.

    Args:
        bracket: the search.
        run_steps: optimizer steps of the run that the learning rate is for; infinite if not known.
        update: the kind of the optimizer's updates, see `lightning_lr.optimizers.update_kind.update_kind`.

    Raises:
        ValueError: if it is not done, or all learning rates diverged.
    """
    candidates = leaderboard(bracket)
    good_lrs = _good_lrs(candidates)
    middle = _middle(good_lrs)
    lr = _lr_for_run(middle, candidates[0].steps, run_steps, update)
    max_lr = min(MAX_LR_PER_LR * lr, MAX_LR_PER_MIDDLE * middle, highest_peak(candidates))
    suggestion = with_bounds(lr, _reasons(bracket, candidates, run_steps), max_lr=max_lr)
    return SearchResult(**asdict(suggestion), candidates=tuple(candidates), good_lrs=good_lrs, steps=bracket.spent)


def _middle(good_lrs: tuple[float, ...]) -> float:
    return math.sqrt(good_lrs[0] * good_lrs[-1])


def _good_lrs(candidates: list[Candidate]) -> tuple[float, ...]:
    """The best learning rate, and the next higher one if that is good too after as many steps.

    Lower ones do not count: runs longer than the trials get less anyway, and cycles bear more. If they counted, the
    mean log gap on the settings of benchmarks/suite would be the same, and in runs of 20 000 steps it was 0.082 instead
    of 0.015 with one cycle.
    """
    best, higher = candidates[0], _higher(candidates)
    counts = bool(higher) and higher[0].verdict == "good" and higher[0].steps == best.steps
    return (best.lr, higher[0].lr) if counts else (best.lr,)


def _higher(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those above the best one, the lowest first."""
    return sorted((each for each in candidates if each.lr > candidates[0].lr), key=lambda each: each.lr)


def why_not_best(result: SearchResult, run_steps: float, update: UpdateKind) -> str | None:
    """Why the learning rate is not the best one of the trials, as sentences; None if it is."""
    best = result.candidates[0]
    if math.isclose(result.lr, best.lr):
        return None
    text = f"lr={best.lr:.3g} is the best in trials of {best.steps} steps."
    if len(result.good_lrs) > 1:
        text += f" lr={result.good_lrs[1]:.3g} did nearly as well, and the middle is {result.middle:.3g}."
    if math.isclose(result.lr, result.middle):
        return text
    if update == "normalized":
        return f"{text} Runs longer than the trials need less: {result.lr:.3g} in {run_steps:.0f} steps."
    percent = 100 * SHARES[update]
    return f"{text} With SGD a run gets {percent:.0f} % of that, since a little more may be too high: {result.lr:.3g}."


def highest_peak(candidates: Sequence[Candidate]) -> float:
    """The highest learning rate of a cycle that the trials allow: the first above the best that is not good.

    It is the one below if that diverged: on the settings of benchmarks/suite some runs of one cycle then diverge at 4/3
    of the best one, and at 0.9 of it the mean log gap is no lower. Of rates above all that were tried nothing is known.
    """
    peak = candidates[0].lr
    for each in _higher(candidates):
        if each.verdict == "very high":
            break
        peak = each.lr
        if each.verdict != "good":
            break
    return peak


def _lr_for_run(lr: float, steps: int, run_steps: float, update: UpdateKind) -> float:
    if update in SHARES:
        return SHARES[update] * lr
    if not math.isfinite(run_steps):
        return lr
    return float(lr * min(1.0, steps / min(run_steps, LONGEST_MEASURED)) ** LENGTH_EXPONENT)


def _reasons(bracket: Bracket, candidates: list[Candidate], run_steps: float) -> tuple[str, ...]:
    """Why the result is not confident. Trials as long as the run are never too short."""
    best = candidates[0]
    costs = bracket.sign * np.array(best.values)
    lower, higher = [each for each in candidates if each.lr < best.lr], _higher(candidates)
    reasons = []
    if not higher:
        reasons.append(f"lr={best.lr:.3g} is the highest that was tried")
    elif higher[0].rung < best.rung and higher[0].verdict != "very high":
        reasons.append(f"lr={best.lr:.3g} is the highest that was tried for {best.steps} steps")
    if not lower:
        reasons.append(f"lr={best.lr:.3g} is the lowest that was tried")
    elif all(each.rung < best.rung for each in lower) and (not higher or higher[0].verdict != "good"):
        reasons.append(f"lr={best.lr:.3g} is the lowest that was tried for {best.steps} steps")
    if not has_learned(costs):
        reasons.append("no learning rate improved on the start by more than the noise")
    elif still_falls(costs, are_positive(costs)) and best.steps < run_steps:
        before, after = (f"{bracket.sign * mean:.3g}" for mean in last_quarters(costs))
        reasons.append(
            f"trials of {best.steps} steps are short for this training: the best one still goes from {before} to"
            f" {after} in its last quarter"
        )
    for failed in (each for each in bracket.told if each.error is not None):
        # a learning rate that is too high may raise one too, but then all above it do or diverge
        of_rung = bracket.rungs[failed.trial.rung]
        if any(each.lr > failed.lr and each.end == "completed" for each in of_rung):
            reasons.append(f"lr={failed.lr:.3g} raised {failed.error}, and higher ones did not")
    if best.rung == 0 and best.steps < run_steps:
        reasons.append(f"it was tried for {best.steps} steps only")
    return tuple(reasons)
