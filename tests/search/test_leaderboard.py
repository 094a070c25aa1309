"""The leaderboard: its texts, and that each reason it gives is true."""

from __future__ import annotations

import math
import re
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import given

from lightning_lr.search.bracket import Bracket
from lightning_lr.search.leaderboard import Candidate, leaderboard, leaderboard_rows
from lightning_lr.search.progress import has_learned, negligible
from lightning_lr.search.trial import Outcome
from lightning_lr.search.verdicts import score
from tests.helpers.searches import Curve, ask, run_whole, search, settings, valley, valley_settings, values_of

NUMBER = r"-?[\d.]+(?:e[+-]?\d+)?"


def _outcome(bracket: Bracket, candidate: Candidate) -> Outcome:
    (outcome,) = (each for each in bracket.told if (each.lr, each.trial.rung) == (candidate.lr, candidate.rung))
    return outcome


def _rivals(bracket: Bracket, rung: int, lr: str) -> list[Outcome]:
    return [each for each in bracket.rungs[rung] if f"{each.lr:.2g}" == lr and each.end == "completed"]


def _tells_apart(match: re.Match[str], score: float, other: float) -> bool:
    """Whether the texts are those of two numbers, with three digits or with the fewest that differ."""
    digits = next((digits for digits in range(3, 7) if f"{score:.{digits}g}" != f"{other:.{digits}g}"), 6)
    return (match[2], match[3]) == (f"{score:.{digits}g}", f"{other:.{digits}g}")


def _is_top_of_plateau(bracket: Bracket, winner: Outcome, outcome: Outcome) -> bool:
    """Whether nothing up to a higher learning rate has learned, and that one has ended as well as the best of these."""
    completed = [each for each in bracket.rungs[winner.trial.rung] if each.end == "completed"]
    costs = [bracket.sign * np.array(each.values) for each in completed if each.lr <= winner.lr]
    best = min(costs, key=score)
    is_as_good = winner.score <= score(best) + negligible(best)
    return winner.lr > outcome.lr and is_as_good and not any(map(has_learned, costs))


def _is_true(bracket: Bracket, candidate: Candidate) -> bool:
    """Whether the reason that the leaderboard gives is what the trials show. Less is better, or more with `sign` -1."""
    outcome, sign, why = _outcome(bracket, candidate), bracket.sign, candidate.why
    ran, total = len(outcome.values) * bracket.every, outcome.trial.steps
    if why.startswith("the best of "):
        completed = [each for each in bracket.rungs[candidate.rung] if each.end == "completed"]
        if "of the last rung" in why:
            return candidate.rung == len(bracket.rungs) - 1 and outcome in completed
        return candidate.rung < len(bracket.rungs) - 1 and outcome.lr < bracket.lowest_diverged
    if match := re.fullmatch(rf"lr=({NUMBER}) ended better after {total} steps: ({NUMBER}) to ({NUMBER})", why):
        return outcome.end == "completed" and any(
            each.score < outcome.score and _tells_apart(match, sign * outcome.score, sign * each.score)
            for each in _rivals(bracket, candidate.rung, match[1])
        )
    if match := re.fullmatch(rf"lr=({NUMBER}) is lower and ended as well after {total} steps: {NUMBER}", why):
        return any(
            each.score == outcome.score and each.lr < outcome.lr for each in _rivals(bracket, candidate.rung, match[1])
        )
    if match := re.fullmatch(
        rf"nothing was learned, and lr=({NUMBER}) is higher and ended as well after {total} steps", why
    ):
        return any(_is_top_of_plateau(bracket, each, outcome) for each in _rivals(bracket, candidate.rung, match[1]))
    pattern = rf"could not catch up with lr=({NUMBER}) after {ran} of {total} steps: ({NUMBER}) to ({NUMBER})"
    if match := re.fullmatch(pattern, why):
        is_worse = sign * float(match[2]) >= sign * float(match[3])  # six digits may be equal
        return outcome.end == "dropped" and is_worse and bool(_rivals(bracket, candidate.rung, match[1]))
    if match := re.fullmatch(rf"above lr=({NUMBER}), which diverged", why):
        return any(
            f"{each.lr:.2g}" == match[1] and each.end == "diverged" and each.lr < candidate.lr for each in bracket.told
        )
    if why == f"ended after {ran} of {total} steps":
        return outcome.end == "dropped"
    if why == f"rose far above its start after {ran} of {total} steps":
        return outcome.end == "diverged" and math.isfinite(outcome.values[-1])
    assert why == f"not finite after {ran} of {total} steps"
    return outcome.end == "diverged" and not math.isfinite(outcome.values[-1])


@hypothesis.settings(deadline=None)  # a machine may be busy
@given(settings() | valley_settings())
def test_every_reason_is_true(setting: tuple[dict[str, Any], Curve]) -> None:
    arguments, curve = setting
    bracket = Bracket(**arguments)
    while trials := ask(bracket):
        bracket.tell(trials[0], values_of(bracket, trials[0], arguments["every"], curve))
    hypothesis.assume(bracket.is_done)
    for candidate in leaderboard(bracket):
        assert _is_true(bracket, candidate), candidate.why


@hypothesis.settings(deadline=None)
@given(valley_settings())
def test_whom_a_dropped_trial_was_behind_is_named(setting: tuple[dict[str, Any], Curve]) -> None:
    arguments, curve = setting
    bracket = Bracket(**arguments)
    while trials := ask(bracket):
        bracket.tell(trials[0], values_of(bracket, trials[0], arguments["every"], curve))
    hypothesis.assume(bracket.is_done)
    for candidate in leaderboard(bracket):
        if _outcome(bracket, candidate).end == "dropped" and not candidate.why.startswith("could not catch up with"):
            # the curves are flat far from the valley, so a trial may be behind by rounding alone
            n, third = len(candidate.values), math.ceil(len(candidate.values) / 3)
            completed = [each.values for each in bracket.rungs[candidate.rung] if each.end == "completed"]
            best = min(bracket.sign * float(np.mean(values[n - third : n])) for values in completed)
            assert bracket.sign * float(np.mean(candidate.values[-third:])) <= best + 1e-9


def test_it_is_not_said_that_a_better_mean_could_not_catch_up() -> None:
    """The best one starts slowly. The one that was dropped was behind another one, and ahead of the best by then."""

    def curve(lr: float, i: int) -> float:
        if lr < 2e-3:
            return 2.0 - i / 40  # the first: 1.025 at the end
        if lr < 2e-2:
            return 2.0 if i < 20 else 1.0 - i / 40  # the last: the best in the end
        return 2.0 - 0.01 * i

    bracket = Bracket(1e-3, 1e-1, extends=False, max_steps=40)
    for lr in (1e-3, 1e-1, 10**-1.5, 1e-2, 10**-2.5):
        (trial,) = (each for each in bracket.ask() if each.lr == pytest.approx(lr))
        whole = [curve(trial.lr, i) for i in range(40)]  # as a worker does that does not know of the others
        bracket.tell(trial, whole if 2e-3 < lr < 5e-3 else values_of(bracket, trial, 1, curve))
    board = {round(math.log10(each.lr), 1): each for each in leaderboard(bracket)}
    assert leaderboard(bracket)[0].lr == pytest.approx(10**-2.5)
    assert board[-1.0].why == "could not catch up with lr=0.001 after 12 of 40 steps: 1.91 to 1.76"


def test_whom_a_trial_was_behind_is_named_though_its_last_values_are_not_finite() -> None:
    bracket = Bracket(1e-3, 1e-1, extends=False, max_steps=10)
    first, *others = bracket.ask()
    bracket.tell(first, [2.0 - i / 10 for i in range(10)])
    bad = [2.0] * 6 + [math.nan] * 2
    assert bracket.stops(others[0], bad)
    for trial in others:
        bracket.tell(trial, bad)
    assert {each.why.split(":")[0] for each in leaderboard(bracket)[1:]} == {
        "could not catch up with lr=0.001 after 8 of 10 steps"
    }


def test_one_text_a_column() -> None:
    bracket = Bracket(1e-3, 1.0)
    search(bracket, valley(0.012, diverges_at=0.5))
    heads, best, *_, worst = leaderboard_rows(leaderboard(bracket))
    assert heads == ["lr", "verdict", "score", "rung", "steps", "why"]
    assert best[:2] + best[3:] == ["0.01", "good", "2", "200", "the best of the last rung, after 200 steps"]
    assert worst == ["1", "very high", "", "1", "4", "not finite after 4 of 40 steps"]


def test_equal_ones_are_not_called_better() -> None:
    bracket = Bracket(1e-3, 1e-1, extends=False)
    run_whole(bracket, lambda lr, i: 1.5)  # noqa: ARG005
    whys = {round(math.log10(each.lr), 1): each.why for each in leaderboard(bracket)}
    assert whys[-3.0] == "the best of the last rung, after 200 steps"
    assert whys[-2.5] == "lr=0.001 is lower and ended as well after 200 steps: 1.5"
    assert whys[-1.0] == "lr=0.001 is lower and ended as well after 200 steps: 1.5"


def test_a_rate_above_one_that_diverged_is_not_good() -> None:
    """It has survived by chance, with a better score."""

    def curve(lr: float, i: int) -> float:
        if 0.1 < lr < 0.5 and i:
            return math.nan
        return 0.5 if lr > 0.5 and i else valley(1e-2)(lr, i)

    bracket = Bracket(1e-3, 1.0, extends=False)
    run_whole(bracket, curve)
    (survivor,) = (each for each in leaderboard(bracket) if each.lr > 0.5)
    assert bracket.best.lr == pytest.approx(1e-2)
    assert survivor.score < bracket.rungs[0][4].score
    assert (survivor.verdict, survivor.why) == ("high", "above lr=0.32, which diverged")


def test_the_error_by_which_a_trial_ended_is_quoted() -> None:
    bracket = Bracket(1e-3, 1e-1, extends=False)
    while trials := bracket.ask():
        if trials[0].lr > 0.05:
            bracket.tell(trials[0], [2.0, math.nan], error="ValueError: too much")
        else:
            bracket.tell(trials[0], [valley(1e-2)(trials[0].lr, i) for i in range(trials[0].steps)])
    assert leaderboard(bracket)[-1].why == "raised ValueError: too much after 2 of 40 steps"


def test_scores_and_means_are_finite_with_single_values_that_are_not() -> None:
    bracket = Bracket(1e-5, 1.0)
    search(bracket, lambda lr, i: math.nan if i % 5 == 3 else valley(1e-2)(lr, i))
    board = leaderboard(bracket)
    assert np.isfinite([each.score for each in board]).all()
    assert any(each.why.startswith("could not catch up") for each in board)
    assert not any("nan" in each.why for each in board)


def test_a_reason_shows_the_digits_in_which_two_scores_differ() -> None:
    bracket = Bracket(0.01, 0.1, extends=False)
    while trials := bracket.ask():
        for trial in trials:
            bracket.tell(trial, [2.0, *[1.5 - trial.lr / 1000] * (trial.steps - 1)])
    best, *others = leaderboard(bracket)
    assert best.lr == pytest.approx(0.1)
    assert others[0].why == "lr=0.1 ended better after 200 steps: 1.5 to 1.4999"


def test_the_top_of_a_plateau_is_named_though_it_diverged_later() -> None:
    def curve(lr: float, i: int) -> float:
        if lr > 0.5:
            return 2.9 if i else 2.0
        return math.nan if lr > 0.02 and i >= 50 else 2.0

    bracket = Bracket(1e-3, 1.0, extends=False)
    run_whole(bracket, curve)
    whys = {round(math.log10(each.lr), 1): each.why for each in leaderboard(bracket)}
    assert bracket.lowest_diverged < 0.4
    assert whys[-3.0] == "nothing was learned, and lr=0.32 is higher and ended as well after 40 steps"
    assert all(_is_true(bracket, each) for each in leaderboard(bracket))
