"""What holds for every search, whatever the trials give."""

from __future__ import annotations

import json
import math
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_lr.search.bracket import Bracket
from lightning_lr.search.leaderboard import leaderboard
from lightning_lr.search.progress import has_learned, negligible
from lightning_lr.search.trial import Trial
from lightning_lr.search.verdicts import MEANINGS
from tests.helpers.searches import Curve, ask, run_whole, search, settings, valley, valley_settings, values_of


def _first_steps(bracket: Bracket) -> int:
    """The steps of the trials that are asked for at the start."""
    return sum(trial.steps for trial in bracket.ask())


@hypothesis.settings(deadline=None)  # a machine may be busy
@given(settings() | valley_settings(), st.randoms())
def test_laws(setting: tuple[dict[str, Any], Curve], random: Any) -> None:
    arguments, curve = setting
    every, budget = arguments["every"], arguments.get("budget")
    bracket, steps, told = Bracket(**arguments), 0, set()
    first = _first_steps(bracket)
    while trials := ask(bracket):
        assert len({trial.rung for trial in trials}) == 1
        for trial in random.sample(trials, len(trials)):  # parallel drivers tell in any order
            assert trial not in told
            assert trial.steps % every == 0
            if not arguments["extends"]:
                assert arguments["min_lr"] * 0.999 <= trial.lr <= arguments["max_lr"] * 1.001
            if arguments["max_steps"] is not None:
                assert trial.steps <= max(arguments["max_steps"], every)
            assert trial.steps <= bracket.longest
            values = values_of(bracket, trial, every, curve)
            steps += len(values) * every
            bracket.tell(trial, values)
            told.add(trial)
    assert bracket.spent == steps
    assert steps <= (max(1400, first) if budget is None else budget)
    assert bracket.num_planned == len(told)
    if not bracket.is_done:
        with pytest.raises(ValueError, match=r"^All .* diverge or fail within") as error:
            leaderboard(bracket)
        assert f"All {len({trial.lr for trial in told})} learning rates" in str(error.value)
        assert all(outcome.end != "completed" or outcome.lr >= bracket.lowest_diverged for outcome in bracket.told)
        return

    best = bracket.best
    board = leaderboard(bracket)
    assert sorted(each.lr for each in board) == sorted({trial.lr for trial in told})
    assert all(each.verdict in MEANINGS and each.why for each in board)
    assert board[0].lr == best.lr
    assert board[0].verdict == "good"
    assert math.isfinite(best.score)
    assert best.end == "completed"
    assert not any(outcome.end == "diverged" and outcome.lr == best.lr for outcome in bracket.told)
    last = next(rung for rung in reversed(bracket.rungs) if best in rung)
    for later in bracket.rungs[best.trial.rung + 1 :]:
        assert all(outcome.end != "completed" or outcome.lr > bracket.lowest_diverged for outcome in later)
    for rival in last:
        is_above_edge = rival.lr > bracket.lowest_diverged > best.lr
        is_counted = rival.end == "completed" and not is_above_edge
        if is_counted and (best.score, best.lr) > (rival.score, rival.lr):
            costs = bracket.sign * np.array(rival.values)
            assert not has_learned(costs)
            assert rival.lr < best.lr
            assert best.score <= rival.score + negligible(costs)


@hypothesis.settings(deadline=None)
@given(settings() | valley_settings(), st.integers(0, 30), st.booleans())
def test_a_stored_search_goes_on_as_it_was(
    setting: tuple[dict[str, Any], Curve], after: int, resumes_trials: bool
) -> None:
    arguments, curve = setting
    arguments = {**arguments, "resumes_trials": resumes_trials}

    whole, cut = Bracket(**arguments), Bracket(**arguments)
    for _ in range(after):
        if trials := ask(cut):
            cut.tell(trials[0], values_of(cut, trials[0], arguments["every"], curve))
    restored = Bracket.from_state(json.loads(json.dumps(cut.state())))
    assert ask(restored) == ask(cut)
    assert restored.spent == cut.spent
    for bracket in (restored, whole):
        while trials := ask(bracket):
            bracket.tell(trials[0], values_of(bracket, trials[0], arguments["every"], curve))
    assert repr(restored.state()) == repr(whole.state())


@hypothesis.settings(deadline=None)
@given(settings() | valley_settings())
def test_trials_that_go_on_keep_to_the_budget(setting: tuple[dict[str, Any], Curve]) -> None:
    """States are kept of those of which the bracket says so, as `lightning_lr.trainer.trials` does it."""
    arguments, curve = setting
    every, budget = arguments["every"], arguments.get("budget")
    bracket = Bracket(**arguments, resumes_trials=True)
    first = _first_steps(bracket)
    kept: dict[float, int] = {}  # optimizer steps of the states that are kept
    while trials := ask(bracket):
        for trial in trials:
            ran = kept.pop(trial.lr, 0)
            values = [curve(trial.lr, i) for i in range(ran // every)]
            for i in range(ran // every, trial.steps // every):
                values.append(curve(trial.lr, i))
                if bracket.stops(trial, values):
                    break
            bracket.tell(trial, values, spent=len(values) * every - ran)
            if bracket.may_continue(trial.lr):
                kept[trial.lr] = len(values) * every
            kept = {lr: steps for lr, steps in kept.items() if bracket.may_continue(lr)}
            assert len(kept) <= 4
    assert bracket.spent <= (max(1400, first) if budget is None else budget)


@hypothesis.settings(deadline=None)
@given(valley_settings())
def test_a_budget_is_spent_up_to_less_than_one_more_rung(setting: tuple[dict[str, Any], Curve]) -> None:
    arguments, curve = setting
    every = arguments["every"]
    budget = arguments.setdefault("budget", 3000 + _first_steps(Bracket(**{**arguments, "max_steps": None})))
    bracket = Bracket(**{**arguments, "max_steps": None})
    while trials := ask(bracket):
        bracket.tell(trials[0], values_of(bracket, trials[0], every, curve))
    if all(outcome.end != "diverged" for outcome in bracket.told):  # else there may be no neighbour
        latest = bracket.best.trial.steps
        assert budget - bracket.spent < 4 * (1.25 * latest + every) + 4


def test_a_trial_is_compared_by_what_a_shorter_one_has_not_recorded() -> None:
    """So one that starts anew ends where one that goes on from its last state would."""
    bracket = Bracket(1e-3, 1e-1, extends=False, max_steps=60)
    while (trials := bracket.ask())[0].steps == 40:
        bracket.tell(trials[0], [1 + 0.1 * abs(math.log10(trials[0].lr / 1e-2))] * 40)
    bracket.tell(trials[0], [1.0] * 60)
    behind = [1.5] * 60
    assert [n for n in range(1, 61) if bracket.stops(trials[1], behind[:n])] == list(range(41, 61))


@pytest.mark.parametrize("diverges_at", [math.inf, 0.3])
def test_finds_the_valley(diverges_at: float) -> None:
    bracket = Bracket(1e-6, 10.0)
    search(bracket, valley(0.02, diverges_at=diverges_at))
    assert bracket.best.lr == pytest.approx(0.0316, rel=0.01)  # the nearest half decade to 0.02
    assert bracket.spent < 1000
    verdicts = {round(math.log10(each.lr), 2): each.verdict for each in leaderboard(bracket)}
    assert verdicts[-1.5] == "good"
    assert verdicts[-5.0] == "low"
    assert verdicts[1.0] == ("high" if diverges_at == math.inf else "very high")


@pytest.mark.parametrize(("min_lr", "max_lr"), [(1e-4, 1.0), (1e-7, 10.0), (3e-5, 0.2)])
def test_begins_and_ends_with_the_given_rates(min_lr: float, max_lr: float) -> None:
    """Not a rounding error beyond them: Optuna would refuse that."""
    lrs = [trial.lr for trial in Bracket(min_lr, max_lr).ask()]
    assert (min(lrs), max(lrs)) == (min_lr, max_lr)


def test_equal_scores_resolve_to_the_lower_rate() -> None:
    bracket = Bracket(1e-3, 1e-1, extends=False)
    search(bracket, lambda lr, i: 1.0)  # noqa: ARG005
    assert bracket.best.lr == 1e-3


def test_all_diverging_proposes_a_lower_range() -> None:
    bracket = Bracket(1e-3, 1.0, extends=False)
    with pytest.raises(
        ValueError, match=r"All 7 learning rates from 0.001 to 1 diverge or fail within 40 steps: lower the"
    ) as e:
        search(bracket, lambda lr, i: math.nan)  # noqa: ARG005
    assert "min_lr=1e-06, max_lr=0.001" in str(e.value)
    assert "\n" not in str(e.value)
    again = Bracket.from_state(bracket.state())
    with pytest.raises(ValueError, match="All 7"):
        _ = again.best


def test_the_first_exception_is_quoted_if_all_fail() -> None:
    bracket = Bracket(1e-3, 1e-2, extends=False)
    for number, trial in enumerate(bracket.ask()):
        bracket.tell(trial, [math.nan], error=f"Error {number}")
    with pytest.raises(ValueError, match=r"All 3 .* The first exception was Error 0\.$"):
        bracket.ask()


def test_a_rate_that_diverges_in_longer_trials_is_not_the_best() -> None:
    """The best three of the first rung and one more diverge when they run longer. Then the budget is spent."""

    def curve(lr: float, i: int) -> float:
        if lr > 2e-4 and i >= 40:
            return math.nan
        return {-4.0: 1.2, -3.0: 1.5, -2.0: 1.1}.get(round(math.log10(lr), 1), 1.6) if i else 2.0

    bracket = Bracket(1e-4, 1e-1, budget=480, extends=False)
    run_whole(bracket, curve)
    assert [outcome.end for outcome in bracket.rungs[1]] == ["diverged"] * 4
    assert bracket.best.lr == 1e-4
    assert leaderboard(bracket)[0].why == "the best of those below all that diverged, after 40 steps"


def test_a_search_without_a_rate_below_those_that_diverge_later_is_an_error() -> None:
    bracket = Bracket(1e-3, 1.0, extends=False)
    with pytest.raises(ValueError, match=r"All 7 learning rates from 0.001 to 1 diverge or fail within 200 steps"):
        run_whole(bracket, lambda lr, i: math.nan if i >= 100 else 2.0 - i / 100)  # noqa: ARG005


def test_in_longer_trials_it_goes_down_until_one_does_not_diverge() -> None:
    bracket = Bracket(1e-4, 1e-1, extends=False)
    run_whole(bracket, lambda lr, i: math.nan if lr > 2e-4 and i >= 40 else valley(1e-2)(lr, i))
    assert [(round(math.log10(outcome.lr), 1), outcome.end) for outcome in bracket.rungs[1]] == [
        *((exponent, "diverged") for exponent in (-2, -2.5, -1.5, -3, -3.5)),
        (-4, "completed"),
    ]
    assert bracket.best.lr == 1e-4


def test_a_trial_that_is_dropped_at_a_value_that_is_not_finite_has_not_diverged() -> None:
    bracket = Bracket(1e-3, 1e-2, extends=False)
    first, second, third = bracket.ask()
    bracket.tell(first, [2.0 - i / 40 for i in range(40)])
    bracket.tell(second, [*[2.0] * 13, math.nan])
    bracket.tell(third, [*[2.0] * 13, math.nan], error="an error")
    assert [outcome.end for outcome in bracket.rungs[0]] == ["completed", "dropped", "diverged"]


@pytest.mark.parametrize("values", [[math.nan], [2.0, math.nan], [*[2.0] * 39, math.nan], [2.0, *[math.nan] * 3]])
def test_ends_that_count_as_a_divergence(values: list[float]) -> None:
    bracket = Bracket(1e-3, 1e-2, extends=False)
    bracket.tell(bracket.ask()[0], values)
    assert bracket.told[0].end == "diverged"
    assert bracket.told[0].score == math.inf


def test_more_is_better_with_max() -> None:
    down, up = Bracket(1e-5, 1.0, every=10), Bracket(1e-5, 1.0, every=10, mode="max")
    curve = valley(0.01)
    search(down, curve, 10)
    search(up, lambda lr, i: -curve(lr, i), 10)
    assert [each.lr for each in leaderboard(up)] == [each.lr for each in leaderboard(down)]
    assert leaderboard(up)[0].score == -leaderboard(down)[0].score > -2


def test_single_values_that_are_not_finite_do_not_matter() -> None:
    curve = valley(0.02)
    bad = {3: math.nan, 17: math.inf, 33: -math.inf, 90: math.nan}
    clean, broken = Bracket(1e-5, 1.0), Bracket(1e-5, 1.0)
    search(clean, curve)
    search(broken, lambda lr, i: bad.get(i, curve(lr, i)))
    assert broken.best.lr == clean.best.lr
    assert all(outcome.end != "diverged" for outcome in broken.told)
    assert np.isfinite([each.score for each in leaderboard(broken)]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min_lr": 0.0}, "min_lr must be finite and above 0, got 0.0"),
        ({"min_lr": math.nan}, "min_lr must be finite and above 0, got nan"),
        ({"min_lr": 1.0, "max_lr": 1.0}, "max_lr must be above min_lr=1.0, got 1.0"),
        ({"max_lr": math.inf}, "max_lr must be finite"),
        ({"min_lr": "low"}, "min_lr must be a number, got 'low'"),
        ({"budget": 1300.5}, "budget must be a whole number of at least 1, got 1300.5"),
        ({"every": 0}, "every must be a whole number of at least 1, got 0"),
        ({"every": 2.5}, "every must be a whole number of at least 1, got 2.5"),
        ({"max_steps": "all"}, "max_steps must be a whole number of at least 1, got 'all'"),
        ({"max_steps": 0}, "max_steps must be a whole number of at least 1, got 0"),
        ({"mode": "up"}, "mode must be one of min, max, got 'up'"),
        ({"budget": 759}, "budget must be at least 760 optimizer steps for the 17 learning rates .* got 759"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        Bracket(**arguments)
    assert "\n" not in str(error.value)


def test_telling_what_was_not_asked() -> None:
    bracket = Bracket(1e-3, 1e-1)
    trial = bracket.ask()[0]
    with pytest.raises(ValueError, match="not done"):
        _ = bracket.best
    with pytest.raises(ValueError, match="1 to 40 values, got 0"):
        bracket.tell(trial, [])
    with pytest.raises(ValueError, match="1 to 40 values, got 41"):
        bracket.tell(trial, [1.0] * 41)
    bracket.tell(trial, [1.0] * 40)
    for wrong in (trial, Trial(0.5, 0, 40)):
        with pytest.raises(ValueError, match="must be one that ask"):
            bracket.tell(wrong, [1.0] * 40)
