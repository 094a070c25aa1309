"""What the tests of the search share: curves, and a driver that runs a search to its end."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

from lightning_lr.search.bracket import Bracket
from lightning_lr.search.leaderboard import Candidate
from lightning_lr.search.trial import Trial

Curve = Callable[[float, int], float]  # learning rate, number of the value -> value
VALUES = st.floats(-10, 10) | st.sampled_from([math.nan, math.inf, -math.inf, 1.0, 2.0])


def valley(best: float, width: float = 1.0, diverges_at: float = math.inf) -> Curve:
    """A loss that falls from 2, and furthest with the learning rate ``best``."""

    def curve(lr: float, i: int) -> float:
        if lr >= diverges_at:
            return math.nan if i else 2.0
        depth = math.exp(-((math.log10(lr / best) / width) ** 2))
        return 2.0 - depth * (1 - math.exp(-i / 30))

    return curve


def middle_of(candidates: Sequence[Candidate]) -> float:
    """The geometric mean of the best learning rate and the next higher one, if that is good after as many steps."""
    best = candidates[0]
    product, number = best.lr, 1
    for nearest in sorted((each for each in candidates if each.lr > best.lr), key=lambda each: each.lr)[:1]:
        if nearest.verdict == "good" and nearest.steps == best.steps:
            product, number = product * nearest.lr, number + 1
    return float(product ** (1 / number))


def values_of(bracket: Bracket, trial: Trial, every: int, curve: Curve) -> list[float]:
    """What is recorded of a trial until the bracket ends it."""
    values: list[float] = []
    for i in range(trial.steps // every):
        values.append(curve(trial.lr, i))
        if bracket.stops(trial, values):
            break
    return values


def ask(bracket: Bracket) -> list[Trial]:
    """The trials that can be run, none if all have diverged."""
    try:
        return bracket.ask()
    except ValueError:
        return []


def search(bracket: Bracket, curve: Curve, every: int = 1) -> list[Trial]:
    """Run a search to its end, one trial after the other. Returns the trials."""
    told = []
    while trials := bracket.ask():
        trial = trials[0]
        bracket.tell(trial, values_of(bracket, trial, every, curve))
        told.append(trial)
    return told


@st.composite
def settings(draw: st.DrawFn) -> tuple[dict[str, Any], Curve]:
    """Arguments of a bracket whose budget is large enough, and curves of any kind."""
    min_lr, decades = 10 ** draw(st.floats(-8, 0)), draw(st.floats(0.01, 6))
    every = draw(st.sampled_from([1, 5, 7, 40, 60]))
    arguments: dict[str, Any] = {"min_lr": min_lr, "max_lr": min_lr * 10**decades, "every": every}
    arguments["mode"] = draw(st.sampled_from(["min", "max"]))
    arguments["extends"] = draw(st.booleans())
    arguments["max_steps"] = draw(st.none() | st.integers(1, 600))
    if draw(st.booleans()):
        lrs = math.ceil(2 * decades - 1e-9) + 1
        arguments["budget"] = math.ceil(40 / every) * every * (max(lrs, 2) + 2) + draw(st.integers(0, 3000))
    kinds = draw(st.lists(st.lists(VALUES, min_size=1, max_size=5), min_size=1, max_size=8))
    base = valley(min_lr * 10 ** (decades * draw(st.floats(-0.5, 1.5))), draw(st.floats(0.1, 2)))

    def curve(lr: float, i: int) -> float:
        kind = kinds[round(1e6 * math.log(lr)) % len(kinds)]
        return base(lr, i) if len(kind) == 1 else kind[(i // 7) % len(kind)]

    return arguments, curve


def valley_settings() -> Any:
    """Settings with one valley each, some of which diverge above."""

    @st.composite
    def draw_setting(draw: st.DrawFn) -> tuple[dict[str, Any], Curve]:
        arguments, _ = draw(settings())
        span = math.log10(arguments["max_lr"] / arguments["min_lr"])
        best = arguments["min_lr"] * 10 ** (span * draw(st.floats(-1, 2)))
        edge = best * 10 ** draw(st.floats(0, 3))
        return arguments, valley(best, draw(st.floats(0.1, 2)), edge)

    return draw_setting()


def run_whole(bracket: Bracket, curve: Curve) -> list[tuple[float, int, int]]:
    """Run a search to its end, and no trial ends early but by three values that are not finite.

    With ``resumes_trials`` a trial goes on from the state of the one before, if the bracket said to keep that.

    Returns:
        Of each trial, in the order in which they were asked for: log10 of its learning rate, its rung, its steps.
    """
    trials = []
    kept: dict[float, int] = {}  # optimizer steps of the states that are kept
    while asked := bracket.ask():
        trial = asked[0]
        ran = kept.pop(trial.lr, 0) if bracket.resumes_trials else 0
        values: list[float] = []
        while len(values) < trial.steps // bracket.every and not (
            len(values) >= 3 and all(map(math.isnan, values[-3:]))
        ):
            values.append(curve(trial.lr, len(values)))
        steps = len(values) * bracket.every
        bracket.tell(trial, values, spent=steps - ran)
        kept = {lr: steps for lr, steps in {**kept, trial.lr: steps}.items() if bracket.may_continue(lr)}
        trials.append((round(math.log10(trial.lr), 2), trial.rung, trial.steps))
    return trials
