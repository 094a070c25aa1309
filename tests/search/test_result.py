"""What a search found: the learning rate for a run of a given length, its bounds, and why it may not be confident."""

from __future__ import annotations

import math
from typing import Any, get_args

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_lr.optimizers.update_kind import UpdateKind
from lightning_lr.search.bracket import Bracket
from lightning_lr.search.result import (
    LONGEST_MEASURED,
    SHARES,
    SearchResult,
    search_result,
    why_not_best,
)
from tests.helpers.searches import Curve, ask, middle_of, run_whole, settings, valley, valley_settings, values_of


def _found(
    curve: Curve,
    run_steps: float = math.inf,
    min_lr: float = 1e-4,
    max_lr: float = 1.0,
    update: UpdateKind = "normalized",
    **arguments: Any,
) -> SearchResult:
    bracket = Bracket(min_lr, max_lr, **arguments)
    run_whole(bracket, curve)
    return search_result(bracket, run_steps, update)


def _fast(lr: float, i: int) -> float:
    return valley(1e-2)(lr, 10 * i)


@pytest.mark.parametrize("run_steps", [201, 300, 1000, 4800, 19200, 10**6, 10**9])
def test_a_longer_run_gets_a_lower_rate(run_steps: int) -> None:
    found = _found(valley(1e-2), run_steps)
    expected = 1e-2 * (200 / min(run_steps, LONGEST_MEASURED)) ** 0.35
    assert found.lr == pytest.approx(expected)
    assert found.lr < 1e-2
    assert found.max_lr == pytest.approx(min(2.5 * expected, 1.7e-2))
    assert found.base_lr == pytest.approx(found.max_lr / 4)
    assert found.one_cycle_max_lr == found.max_lr
    assert found.decay_lr == pytest.approx(min(2 * expected, 1.7e-2))


@pytest.mark.parametrize("run_steps", [100, 600, 10**6, math.inf])
@pytest.mark.parametrize(("update", "share"), [("gradient", 0.75), ("momentum", 0.75), ("shrinking", 1)])
def test_where_updates_shrink_the_length_of_the_run_does_not_matter(
    update: UpdateKind, share: float, run_steps: float
) -> None:
    found = _found(valley(1e-2), run_steps, update=update)
    assert found.lr == pytest.approx(share * 1e-2)
    assert found.max_lr == pytest.approx(1.7e-2)
    assert found.decay_lr == pytest.approx(min(2 * found.lr, 1.7e-2))


def test_every_kind_of_update_but_one_has_a_share() -> None:
    assert {*SHARES, "normalized"} == set(get_args(UpdateKind))


def test_runs_longer_than_what_was_measured_get_one_rate() -> None:
    assert _found(valley(1e-2), LONGEST_MEASURED).lr == _found(valley(1e-2), 10 * LONGEST_MEASURED).lr
    assert _found(valley(1e-2), LONGEST_MEASURED).lr < _found(valley(1e-2), LONGEST_MEASURED / 2).lr


@pytest.mark.parametrize("run_steps", [math.inf, 200, 100, 1])
def test_a_run_of_unknown_length_or_no_longer_than_a_trial_gets_the_rate_of_the_trials(run_steps: float) -> None:
    found = _found(valley(1e-2), run_steps)
    assert found.lr == pytest.approx(1e-2)
    assert found.max_lr == pytest.approx(1.7e-2)


def test_the_steps_are_those_of_the_trials_of_the_best_rung() -> None:
    assert _found(valley(1e-2), 400, budget=5000).lr == pytest.approx(1e-2)  # trials of 1180 steps
    assert _found(valley(1e-2), 80, max_steps=40).lr == pytest.approx(1e-2 * 0.5**0.35)


@pytest.mark.parametrize(
    ("curve", "middle"),
    [
        (valley(1e-2), 1e-2),
        (valley(10**-1.8), 10**-1.75),  # 0.0316 is nearly as good as 0.01
        (valley(10**-1.7), 10**-1.5),  # a lower one does not count
        (valley(1e-2, width=5), 10**-1.75),  # both neighbours are as good
        (valley(10**-1.8, diverges_at=0.02), 1e-2),
    ],
)
def test_the_middle_of_the_good_ones(curve: Curve, middle: float) -> None:
    found = _found(curve)
    assert found.lr == pytest.approx(middle)
    assert found.lr == pytest.approx(middle_of(found.candidates))
    assert _found(curve, update="gradient").lr == pytest.approx(0.75 * middle)
    assert _found(curve, 3200).lr == pytest.approx(middle / 16**0.35)


def test_a_good_one_that_was_tried_for_fewer_steps_does_not_count() -> None:
    # in the second rung the best is higher and higher, until the steps are spent
    found = _found(lambda lr, i: valley(1e-2, width=20)(lr, i) if i < 40 else valley(10.0, width=2)(lr, i))
    (above,) = (each for each in found.candidates if each.lr == pytest.approx(1.0))
    assert (above.verdict, above.steps, found.candidates[0].steps) == ("good", 40, 200)
    assert found.good_lrs == (found.candidates[0].lr,) == pytest.approx((10**-0.5,))


def test_where_nothing_was_learned_it_is_the_highest() -> None:
    found = _found(lambda lr, i: 1.0 if lr < 0.5 or i < 3 else math.nan)
    assert "no learning rate improved on the start by more than the noise" in found.reasons
    assert {each.lr: each.verdict for each in found.candidates}[found.candidates[1].lr] == "good"
    assert found.lr == found.candidates[0].lr == pytest.approx(10**-0.5)


def test_why_the_learning_rate_is_not_the_best_one() -> None:
    def why(curve: Curve, run_steps: float = math.inf, update: UpdateKind = "normalized") -> str | None:
        return why_not_best(_found(curve, run_steps, update=update), run_steps, update)

    assert why(valley(1e-2)) is None
    best = "lr=0.01 is the best in trials of 200 steps."
    assert why(valley(1e-2), 3200) == (f"{best} Runs longer than the trials need less: 0.00379 in 3200 steps.")
    is_flat = f"{best} lr=0.0316 did nearly as well, and the middle is 0.0178."
    assert why(valley(10**-1.8)) == is_flat
    assert why(valley(10**-1.8), update="gradient") == (
        f"{is_flat} With SGD a run gets 75 % of that, since a little more may be too high: 0.0133."
    )
    assert why(valley(10**-1.8), update="shrinking") == is_flat


def test_bounds_stay_below_a_rate_that_diverged() -> None:
    assert _found(valley(1e-2, diverges_at=0.02), 400).max_lr == pytest.approx(1e-2)
    found = _found(valley(1e-2, diverges_at=0.02))
    assert found.lr == found.max_lr == found.decay_lr == pytest.approx(1e-2)
    assert _found(valley(1e-2, diverges_at=0.2)).max_lr == pytest.approx(1.7e-2)


def test_bounds_stay_below_rates_that_were_not_tried() -> None:
    found = _found(valley(1.0), extends=False)
    assert "lr=1 is the highest that was tried" in found.reasons
    assert found.lr == found.max_lr == pytest.approx(1.0)
    assert _found(valley(1.0)).max_lr == pytest.approx(1.7)
    narrow = _found(lambda lr, i: math.exp(-i / 20) + 0 * lr, min_lr=1e-3, max_lr=1.2e-3, extends=False)
    assert narrow.max_lr == 1.2e-3  # both are good


def test_the_lowest_of_the_long_trials_is_no_sure_answer() -> None:
    """The steps end before one below it could be tried for as long."""

    def falls(lr: float, i: int) -> float:
        best = 1e-3 if i < 40 else 1e-6
        return 1 + math.exp(-i / 20) + 0.2 * abs(math.log10(lr / best)) * min(1, i / 10)

    found = _found(falls, min_lr=1e-7, max_lr=0.1)
    assert found.reasons == ("lr=0.0001 is the lowest that was tried for 200 steps",)


def test_bounds_stay_below_a_rate_that_did_worse() -> None:
    def curve(lr: float, i: int) -> float:
        return math.exp(-i / 20) + 0.5 * abs(math.log(lr / 1e-2)) * (1 - math.exp(-i / 100))

    found = _found(curve, min_lr=1e-2, max_lr=1.5e-2)  # a grid with a factor of 1.5
    assert found.lr == pytest.approx(1e-2)
    assert {each.lr: each.verdict for each in found.candidates}[1.5e-2] == "high"
    assert found.max_lr == 1.5e-2


@hypothesis.settings(deadline=None)
@given(settings() | valley_settings(), st.none() | st.integers(1, 100_000))
def test_bounds(setting: tuple[dict[str, Any], Curve], run_steps: int | None) -> None:
    arguments, curve = setting
    bracket = Bracket(**arguments)
    while trials := ask(bracket):
        bracket.tell(trials[0], values_of(bracket, trials[0], arguments["every"], curve))
    hypothesis.assume(bracket.is_done)
    found = search_result(bracket, math.inf if run_steps is None else run_steps)
    best = found.candidates[0].lr
    middle = middle_of(found.candidates)
    assert best == bracket.best.lr
    assert found.middle == pytest.approx(middle)
    assert 0 < found.base_lr < found.lr <= found.middle
    assert found.lr <= found.max_lr <= min(2.5 * found.lr, 1.7 * found.middle) * (1 + 1e-12)
    assert found.confident == (not found.reasons)
    assert found.steps == bracket.spent
    higher = [each for each in found.candidates if each.lr > best]
    assert found.max_lr <= max(each.lr for each in found.candidates)
    if higher and (next_higher := min(higher, key=lambda each: each.lr)).verdict in ("high", "very high"):
        assert found.max_lr <= (best if next_higher.verdict == "very high" else next_higher.lr)


@pytest.mark.parametrize(("fails_at", "is_a_reason"), [(1e-3, True), (1.0, False)])
def test_an_exception_that_higher_ones_do_not_raise_is_a_reason(fails_at: float, is_a_reason: bool) -> None:
    bracket = Bracket(1e-4, 1.0)
    curve = valley(1e-2)
    while trials := bracket.ask():
        fails = trials[0].lr == pytest.approx(fails_at) and trials[0].rung == 0
        values = [curve(trials[0].lr, i) for i in range(4 if fails else trials[0].steps)]
        bracket.tell(trials[0], values, error="ValueError: boom" if fails else None)
    reasons = search_result(bracket).reasons
    assert [*reasons] == ["lr=0.001 raised ValueError: boom, and higher ones did not"] * is_a_reason


def test_a_rate_that_diverged_above_the_best_is_an_end_that_was_seen() -> None:
    assert _found(valley(1e-2, diverges_at=2e-2)).reasons == ()


def test_a_clear_search_is_confident() -> None:
    assert _found(valley(1e-2)).reasons == ()
    assert _found(valley(1e-2)).confident


@pytest.mark.parametrize(
    ("curve", "run_steps", "arguments", "reasons"),
    [
        (valley(10.0), math.inf, {"extends": False}, ["lr=1 is the highest that was tried"]),
        (valley(1e-6), math.inf, {"extends": False}, ["lr=0.0001 is the lowest that was tried"]),
        (
            lambda lr, i: 1 + 0.1 * (-1) ** i,  # noqa: ARG005
            math.inf,
            {"extends": False},
            ["lr=0.0001 is the lowest that was tried", "no learning rate improved on the start by more than the noise"],
        ),
        (  # in the second rung the best is higher and higher, until the steps are spent
            lambda lr, i: valley(1e-2 if i < 40 else 10.0, width=2.0)(lr, i),
            math.inf,
            {},
            ["lr=0.316 is the highest that was tried for 200 steps"],
        ),
        (_fast, math.inf, {"max_steps": 40}, ["it was tried for 40 steps only"]),
        (_fast, 41, {"max_steps": 40}, ["it was tried for 40 steps only"]),
        (_fast, 40, {"max_steps": 40}, []),
    ],
)
def test_each_reason(curve: Curve, run_steps: float, arguments: dict[str, Any], reasons: list[str]) -> None:
    found = _found(curve, run_steps, **arguments)
    assert [*found.reasons] == reasons
    assert found.confident == (not reasons)


def test_trials_that_are_too_short() -> None:
    def slow(lr: float, i: int) -> float:
        return 2.0 - i / 1000 * math.exp(-(math.log10(lr / 1e-2) ** 2))

    (reason,) = _found(slow).reasons
    assert reason.startswith("trials of 200 steps are short for this training")
    assert _found(slow, run_steps=201).reasons == (reason,)
    assert _found(slow, run_steps=200).reasons == ()  # the run is no longer than they are


def test_more_is_better_with_max() -> None:
    curve = valley(1e-2)
    down, up = _found(curve, 1000), _found(lambda lr, i: -curve(lr, i), 1000, mode="max")
    assert (up.lr, up.max_lr, up.reasons) == (down.lr, down.max_lr, down.reasons)
    flat = _found(lambda lr, i: -(1 + (-1) ** i * lr), 1000, mode="max")
    assert "no learning rate improved on the start by more than the noise" in flat.reasons


def test_its_text_leaves_out_the_losses_of_the_trials() -> None:
    found = SearchResult(0.1, 0.05, 0.2, 0.2, True, (), candidates=(), good_lrs=(0.1, 0.2), steps=600)
    assert repr(found) == (
        "SearchResult(lr=0.1, base_lr=0.05, max_lr=0.2, one_cycle_max_lr=0.2, confident=True, reasons=(), "
        "good_lrs=(0.1, 0.2), steps=600)"
    )
