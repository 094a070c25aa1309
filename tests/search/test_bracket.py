"""What holds for every search, whatever the trials give, and how trials are judged."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_lr.search.bracket import Bracket
from lightning_lr.search.leaderboard import leaderboard, leaderboard_rows
from lightning_lr.search.trial import Trial
from lightning_lr.search.verdicts import MEANINGS, diverges, is_behind, score, verdict

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


def values_of(bracket: Bracket, trial: Trial, every: int, curve: Curve) -> list[float]:
    values: list[float] = []
    for i in range(trial.steps // every):
        values.append(curve(trial.lr, i))
        if bracket.stops(trial, values):
            break
    return values


def search(bracket: Bracket, curve: Curve, every: int = 1) -> list[Trial]:
    """Run a search to its end, one trial after the other. Returns the trials."""
    told = []
    while trials := bracket.ask():
        for trial in trials:
            bracket.tell(trial, values_of(bracket, trial, every, curve))
            told.append(trial)
    return told


@st.composite
def settings(draw: st.DrawFn) -> tuple[dict[str, Any], Curve]:
    """Arguments of a bracket whose budget is large enough, and curves of any kind."""
    min_lr, decades = 10 ** draw(st.floats(-8, 0)), draw(st.floats(0.01, 6))
    every = draw(st.sampled_from([1, 5, 7, 50, 60]))
    arguments: dict[str, Any] = {"min_lr": min_lr, "max_lr": min_lr * 10**decades, "every": every}
    arguments["mode"] = draw(st.sampled_from(["min", "max"]))
    if draw(st.booleans()):
        rates = math.ceil(2 * decades - 1e-9) + 1
        least = math.ceil(50 / every) * every * (max(rates, 2) + 2)
        arguments["budget"] = least + draw(st.integers(0, 3000))
    kinds = draw(st.lists(st.lists(VALUES, min_size=1, max_size=5), min_size=1, max_size=8))
    base = valley(min_lr * 10 ** (decades * draw(st.floats(0, 1))), draw(st.floats(0.1, 2)))

    def curve(lr: float, i: int) -> float:
        kind = kinds[round(1e6 * math.log(lr)) % len(kinds)]
        return base(lr, i) if len(kind) == 1 else kind[(i // 7) % len(kind)]

    return arguments, curve


@hypothesis.settings(deadline=None)  # a machine may be busy
@given(settings(), st.randoms())
def test_laws(setting: tuple[dict[str, Any], Curve], random: Any) -> None:
    arguments, curve = setting
    every, budget = arguments["every"], arguments.get("budget")
    bracket, steps, told = Bracket(**arguments), 0, set()
    while trials := ask(bracket):
        for trial in random.sample(trials, len(trials)):  # parallel drivers tell in any order
            assert trial not in told
            assert arguments["min_lr"] * 0.999 <= trial.lr <= arguments["max_lr"] * 1.001
            values = values_of(bracket, trial, every, curve)
            steps += len(values) * every
            bracket.tell(trial, values)
            told.add(trial)
    assert bracket.spent == steps
    assert budget is None or steps <= budget
    assert len(told) <= bracket.most_trials
    last = bracket.rungs[-1]
    if all(outcome.end == "diverged" for outcome in last):
        lowest = min(outcome.lr for outcome in last)
        proposed = re.escape(f"min_lr={lowest / 1e3:.3g}, max_lr={lowest:.3g}")
        with pytest.raises(ValueError, match=proposed):
            leaderboard(bracket)
        return

    board = leaderboard(bracket)
    assert sorted(each.lr for each in board) == sorted({trial.lr for trial in told})
    assert all(each.verdict in MEANINGS and each.why for each in board)
    assert board[0].lr == bracket.best.lr
    assert bracket.best.lr in {outcome.lr for outcome in last}
    assert board[0].verdict == "good"
    assert math.isfinite(bracket.best.score)
    assert np.isfinite(bracket.best.values).all()
    for rival in last:
        if rival.lr != bracket.best.lr and rival.end == "completed":
            assert (bracket.best.score, bracket.best.lr) < (rival.score, rival.lr)


def ask(bracket: Bracket) -> list[Trial]:
    """The trials that can be run, none if all have diverged."""
    try:
        return bracket.ask()
    except ValueError:
        return []


@hypothesis.settings(deadline=None)  # a machine may be busy
@given(settings(), st.integers(0, 30))
def test_a_stored_search_goes_on_as_it_was(setting: tuple[dict[str, Any], Curve], after: int) -> None:
    arguments, curve = setting

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


@pytest.mark.parametrize("diverges_at", [math.inf, 0.3])
def test_finds_the_valley(diverges_at: float) -> None:
    bracket = Bracket(1e-6, 10.0)
    search(bracket, valley(0.02, diverges_at=diverges_at))
    assert bracket.best.lr == pytest.approx(0.01 * 10**0.25)  # the nearest quarter of a decade to 0.02
    assert bracket.spent < 1500
    verdicts = {round(math.log10(each.lr), 2): each.verdict for each in leaderboard(bracket)}
    assert verdicts[-1.75] == verdicts[-1.5] == "good"
    assert verdicts[-5.0] == "low"
    assert verdicts[1.0] == ("high" if diverges_at == math.inf else "very high")


def test_the_rungs_of_the_default() -> None:
    bracket = Bracket(1e-4, 1e-2)
    trials = search(bracket, lambda lr, i: abs(math.log10(lr) + 3))  # noqa: ARG005  # nothing ends early: all stand still
    grid = [1e-4, 1e-2, 10**-2.5, 1e-3, 10**-3.5]
    assert [(t.rung, t.steps) for t in trials] == [(0, 50)] * 5 + [(1, 200)] * 4 + [(2, 200)] * 2
    assert [t.lr for t in trials[:5]] == pytest.approx(grid)
    assert [t.lr for t in trials[5:9]] == pytest.approx([1e-3, 10**-3.5, 10**-2.5, 1e-4])
    assert [t.lr for t in trials[9:]] == pytest.approx([10**-3.25, 10**-2.75])
    assert bracket.best.lr == pytest.approx(1e-3)


def test_steps_that_early_ends_save_go_to_the_later_rungs() -> None:
    patient, hasty = Bracket(1e-4, 10.0, budget=1500), Bracket(1e-4, 10.0, budget=1500)
    slow = search(patient, lambda lr, i: 1.0)  # noqa: ARG005
    fast = search(hasty, valley(1e-3, diverges_at=0.01))
    assert {t.steps for t in slow if t.rung > 0} == {(1500 - 11 * 50) // 6}
    assert min(t.steps for t in fast if t.rung > 0) > (1500 - 11 * 50) // 6


def test_a_small_budget_leaves_the_second_rung_out() -> None:
    bracket = Bracket(1e-3, 1e-1, budget=7 * 50)
    trials = search(bracket, valley(1e-2))
    assert [(t.rung, t.steps) for t in trials] == [(0, 50)] * 5 + [(1, 50)] * 2


def test_equal_scores_resolve_to_the_lower_rate() -> None:
    bracket = Bracket(1e-3, 1e-1)
    search(bracket, lambda lr, i: 1.0)  # noqa: ARG005
    # of the four lowest the lowest; its neighbour above is equal too, and the one below is out of range
    assert bracket.best.lr == pytest.approx(1e-3)


def test_all_diverging_proposes_a_lower_range() -> None:
    bracket = Bracket(1e-3, 1.0)
    with pytest.raises(
        ValueError, match=r"All 7 learning rates from 0.001 to 1 diverge or fail within 50 steps: lower the"
    ) as e:
        search(bracket, lambda lr, i: math.nan)  # noqa: ARG005
    assert "min_lr=1e-06, max_lr=0.001" in str(e.value)
    assert "\n" not in str(e.value)
    again = Bracket.from_state(bracket.state())
    with pytest.raises(ValueError, match="All 7"):
        _ = again.best


def test_survivors_that_all_diverge_later_are_an_error_too() -> None:
    with pytest.raises(ValueError, match=r"All 4 learning rates .* diverge or fail within 200 steps"):
        search(Bracket(1e-3, 1.0), lambda lr, i: math.nan if i > 100 else 1.0)  # noqa: ARG005


def test_more_is_better_with_max() -> None:
    down, up = Bracket(1e-5, 1.0, every=10), Bracket(1e-5, 1.0, every=10, mode="max")
    curve = valley(0.01)
    search(down, curve, 10)
    search(up, lambda lr, i: -curve(lr, i), 10)
    assert [each.lr for each in leaderboard(up)] == [each.lr for each in leaderboard(down)]
    assert leaderboard(up)[0].score == -leaderboard(down)[0].score > -2


def test_steps_of_a_trial_that_went_on_count_once() -> None:
    bracket = Bracket(1e-3, 1e-1)
    curve = valley(1e-2)
    for trial in bracket.ask():
        bracket.tell(trial, values_of(bracket, trial, 1, curve))
    before = bracket.spent
    trial = bracket.ask()[0]
    bracket.tell(trial, [curve(trial.lr, i) for i in range(200)], spent=150)
    assert bracket.spent == before + 150


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min_lr": 0.0}, "min_lr must be finite and above 0, got 0.0"),
        ({"min_lr": math.nan}, "min_lr must be finite and above 0, got nan"),
        ({"min_lr": 1.0, "max_lr": 1.0}, "max_lr must be finite and above min_lr=1.0, got 1.0"),
        ({"max_lr": math.inf}, "max_lr must be finite"),
        ({"min_lr": "low"}, "min_lr must be a number, got 'low'"),
        ({"budget": 1300.0}, "budget must be a whole number of optimizer steps, got 1300.0"),
        ({"every": 0}, "every must be at least 1 optimizer step, got 0"),
        ({"mode": "up"}, "mode must be 'min' or 'max', got 'up'"),
        ({"budget": 949}, "budget must be at least 950 optimizer steps for the 17 learning rates .* got 949"),
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
    with pytest.raises(ValueError, match="1 to 50 values, got 0"):
        bracket.tell(trial, [])
    with pytest.raises(ValueError, match="1 to 50 values, got 51"):
        bracket.tell(trial, [1.0] * 51)
    bracket.tell(trial, [1.0] * 50)
    for wrong in (trial, Trial(0.5, 0, 50)):
        with pytest.raises(ValueError, match="must be one that ask"):
            bracket.tell(wrong, [1.0] * 50)


def test_leaderboard_has_one_text_a_column() -> None:
    bracket = Bracket(1e-3, 1.0)
    search(bracket, valley(0.02, diverges_at=0.5))
    heads, best, *_, worst = leaderboard_rows(leaderboard(bracket))
    assert heads == ["lr", "verdict", "score", "rung", "steps", "why"]
    assert best[:2] + best[3:] == ["0.0178", "good", "3", "200", "the best of the last rung, after 200 steps"]
    assert worst == ["1", "very high", "", "1", "2", "not finite after 2 of 50 steps"]


def test_score_is_the_mean_of_the_last_third() -> None:
    assert score(np.array([5.0])) == 5.0
    assert score(np.arange(9.0)) == 7.0
    assert score(np.array([1.0, np.nan, 1.0, 1.0])) == math.inf


def test_divergence() -> None:
    level = 1 + 0.9 * np.sin(1e4 * np.arange(60.0))  # batches of very different losses
    wild_start = np.concatenate([np.full(9, 20.0), np.full(51, 0.5)])
    assert not any(diverges(level[:n], level, 60) for n in range(1, 61))
    assert diverges(np.append(level[:3], np.nan), np.array([]), 60)
    jump = np.concatenate([level[:30], level[30:] + 2.0])
    assert next(n for n in range(1, 61) if diverges(jump[:n], level, 60)) in range(34, 40)
    assert not diverges(jump, np.array([]), 60)
    assert not diverges(jump, level[:50], 60)
    assert not diverges(np.append(level[:40], 20.0), level, 240)  # one bad batch among many
    assert not any(diverges(wild_start[:n], level, 60) for n in range(1, 15))


def test_behind() -> None:
    i = np.arange(60.0)
    batches = np.sin(1e4 * i)  # what both have in common
    falls, stands, late = 2 - i / 40 + batches, 2 + 0 * i + batches, 2 - np.maximum(0, i - 15) / 20 + batches
    fast_then_bad = 2 - i / 10 + np.maximum(0, i - 15) / 8 + batches
    assert not is_behind(stands[:19], falls)
    assert is_behind(stands[:20], falls)
    assert not any(is_behind(falls[:n], stands) for n in range(1, 61))
    assert not is_behind(late[:40], falls)  # is catching up
    assert not any(is_behind(falls[:n], fast_then_bad) for n in range(1, 61))
    assert not any(is_behind(falls[:n], falls) for n in range(1, 61))


def test_verdict() -> None:
    best = np.linspace(2.0, 1.0, 60)
    cases = {"very high": (1.0, best, "diverged"), "good": (0.02, best + 0.01, "completed")}
    cases |= {"high": (0.3, best + 0.5, "completed"), "low": (1e-3, best[:20] + 0.5, "dropped")}
    for expected, (lr, costs, end) in cases.items():
        assert verdict(lr, costs, end, 0.01, best) == expected  # type: ignore[arg-type]
