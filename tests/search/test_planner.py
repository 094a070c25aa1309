"""Which trials follow, each rule by an example that is written out. A trial is (log10 of its rate, rung, steps)."""

from __future__ import annotations

import math
from typing import Any

import pytest

from lightning_lr.search.bracket import Bracket
from lightning_lr.search.result import search_result
from tests.helpers.searches import Curve, run_whole, search, valley


def _moves(before: float, after: float) -> Curve:
    """The best learning rate is the one in the first 40 steps, and the other one later."""
    return lambda lr, i: valley(before if i < 40 else after, width=2.0)(lr, i)


def _slow(best: float) -> Curve:
    """A loss that still falls steeply after 200 steps."""
    return lambda lr, i: 2.0 - i / 1000 * math.exp(-(math.log10(lr / best) ** 2))


def _flat(lr: float, i: int) -> float:
    return 1.0


def _first(*exponents: float) -> list[tuple[float, int, int]]:
    return [(exponent, 0, 40) for exponent in exponents]


def test_the_best_and_its_neighbours_run_longer() -> None:
    trials = run_whole(Bracket(1e-4, 1e-1), valley(10**-2.5))
    assert trials == [
        *_first(-4, -1, -1.5, -2, -2.5, -3, -3.5),
        *((exponent, 1, 200) for exponent in (-2.5, -3, -2)),
    ]


def test_a_range_is_divided_into_steps_of_at_most_half_a_decade() -> None:
    assert [trial.lr for trial in Bracket(1e-3, 2e-2).ask()] == pytest.approx(
        [1e-3, 2e-2, 1e-3 * 20 ** (2 / 3), 1e-3 * 20 ** (1 / 3)]
    )


def test_a_third_rung_only_if_the_loss_still_falls() -> None:
    trials = run_whole(Bracket(1e-3, 1e-2, extends=False, resumes_trials=True), _slow(10**-2.5))
    assert [trial[1:] for trial in trials] == [(0, 40)] * 3 + [(1, 200)] * 3 + [(2, 400)] * 3
    assert len(run_whole(Bracket(1e-3, 1e-2, extends=False, resumes_trials=True), valley(10**-2.5))) == 6
    # trials that start anew would take 3 * (40 + 200 + 400) steps
    assert len(run_whole(Bracket(1e-3, 1e-2, extends=False), _slow(10**-2.5))) == 6


def test_a_loss_that_is_small_already_asks_for_no_third_rung_and_is_no_sure_answer() -> None:
    """It falls to a millionth of its start, and still halves every 10 steps."""

    def falls(lr: float, i: int) -> float:
        return math.exp(-i / 14 + 0.5 * abs(math.log10(lr / 10**-2.5)) * min(1, i / 10))

    bracket = Bracket(1e-3, 1e-1, resumes_trials=True)
    run_whole(bracket, falls)
    assert len(bracket.rungs) == 2
    (reason,) = search_result(bracket, 600).reasons
    assert reason == (
        "trials of 200 steps are short for this training: the best one still goes from 0.000223 to 6.27e-06 in its last"
        " quarter"
    )


def test_goes_up_in_the_first_rung_until_the_best_is_not_the_highest() -> None:
    trials = run_whole(Bracket(1e-3, 1e-1), valley(1.0))
    assert trials == [
        *_first(-3, -1, -1.5, -2, -2.5, -0.5, 0, 0.5),
        *((exponent, 1, 200) for exponent in (0, -0.5, 0.5)),
    ]


def test_goes_down_in_the_first_rung_until_the_best_is_not_the_lowest() -> None:
    trials = run_whole(Bracket(1e-3, 1e-1), valley(1e-4))
    assert trials == [
        *_first(-3, -1, -1.5, -2, -2.5, -3.5, -4, -4.5),
        *((exponent, 1, 200) for exponent in (-4, -4.5, -3.5)),
    ]


def test_goes_up_in_a_later_rung_too() -> None:
    trials = run_whole(Bracket(1e-3, 1e-1), _moves(1e-2, 1.0))
    assert trials == [
        *_first(-3, -1, -1.5, -2, -2.5),
        *((exponent, 1, 200) for exponent in (-2, -2.5, -1.5, -1, -0.5, 0)),  # 1400 steps in all
    ]


def test_goes_down_in_a_later_rung_too() -> None:
    trials = run_whole(Bracket(1e-3, 1e-1), _moves(1e-2, 1e-5))
    assert trials == [
        *_first(-3, -1, -1.5, -2, -2.5),
        *((exponent, 1, 200) for exponent in (-2, -2.5, -1.5, -3, -3.5, -4)),  # 1400 steps in all
    ]


@pytest.mark.parametrize(("lack", "is_lower_tried"), [(0.05, False), (0.5, True)])
def test_in_a_later_rung_a_lower_rate_is_tried_only_if_the_lowest_is_better_by_much(
    lack: float, is_lower_tried: bool
) -> None:
    """In the long trials each half decade more lacks some of the gain of 1; in the short ones 1e-2 is the best."""

    def curve(lr: float, i: int) -> float:
        late = lack * abs(2 * math.log10(lr / 1e-3)) if i >= 40 else 0.5 * abs(math.log10(lr / 1e-2))
        return 1 + math.exp(-i / 10) + late * min(1, i / 10)

    bracket = Bracket(1e-3, 1e-1)
    run_whole(bracket, curve)
    assert bracket.best.lr == pytest.approx(1e-3 if is_lower_tried else 10**-2.5)
    assert (min(outcome.lr for outcome in bracket.rungs[1]) < 2e-3) == is_lower_tried


def test_in_the_first_rung_a_lower_rate_is_tried_though_the_next_higher_one_is_good() -> None:
    def shallow(lr: float, i: int) -> float:
        return 1 + math.exp(-i / 10) + 0.02 * abs(math.log10(lr / 1e-5)) * min(1, i / 10)

    bracket = Bracket(1e-3, 1e-1)
    run_whole(bracket, shallow)
    assert min(outcome.lr for outcome in bracket.rungs[0]) == pytest.approx(10**-5.5)


def test_goes_up_while_nothing_has_learned() -> None:
    def flat(lr: float, i: int) -> float:
        return math.nan if lr > 2 and i else 1.0

    bracket = Bracket(1e-3, 1e-1)
    trials = run_whole(bracket, flat)
    assert trials == [
        *_first(-3, -1, -1.5, -2, -2.5, -0.5, 0, 0.5),  # the last one diverges
        *((exponent, 1, 200) for exponent in (0, -0.5)),  # of equal ones the highest below the edge is the best
    ]
    assert bracket.lowest_diverged == pytest.approx(10**0.5)
    assert bracket.best.lr == pytest.approx(1.0)


def test_where_no_learning_rate_has_any_effect_the_lowest_is_the_best() -> None:
    """Nothing tells that a high one is safe."""
    bracket = Bracket(1e-3, 1e-1, extends=False)
    run_whole(bracket, _flat)
    assert bracket.best.lr == 1e-3


def test_on_a_plateau_the_differences_of_lower_rates_are_no_reason_to_stay_low() -> None:
    """All learn late, the higher the earlier. Until then, higher ones do worse by a millionth."""

    def plateau(lr: float, i: int) -> float:
        if lr > 0.2 and i:
            return 2.9  # worse, and no divergence
        return 2.0 + 0.1 * (-1.0) ** i + 1e-6 * lr * i - max(0.0, lr * i / 10 - 1)

    bracket = Bracket(1e-6, 1.0)
    search(bracket, plateau)
    assert bracket.lowest_diverged == math.inf
    assert bracket.best.lr == pytest.approx(10**-1)


def test_a_shallow_valley_leaves_steps_for_longer_trials() -> None:
    """Those within a decade of the best end within a hundredth of the fall of the first steps."""

    def shallow(lr: float, i: int) -> float:
        return 1 + 9 * math.exp(-i / 5) + 0.05 * abs(math.log10(lr / 1e-2)) * min(1, i / 10)

    bracket = Bracket()
    search(bracket, shallow)
    assert bracket.best.lr == pytest.approx(1e-2)
    assert bracket.best.trial.rung == 1


def test_does_not_go_up_from_a_rate_above_one_that_diverged() -> None:
    trials = run_whole(
        Bracket(1e-4, 1e-1), lambda lr, i: math.nan if 9e-4 < lr < 1.1e-3 and i else 1 + math.exp(-i / 5)
    )
    assert max(trials)[0] == -1


def test_goes_up_while_higher_ones_end_as_well() -> None:
    """All fall fast from 10 to 1, and those above 0.05 further. Those below end as if they were done."""

    def two_falls(lr: float, i: int) -> float:
        first = 9 * math.exp(-i / 2) + 0.01 * math.log10(lr / 10**-2.5) ** 2
        second = min(0.9, max(0.0, lr * (i - 100) / 50 - 0.05))
        return float(1 + first - second)

    trials = run_whole(Bracket(1e-3, 1e-2), two_falls)
    assert [trial for trial in trials if trial[1]][:3] == [(exponent, 1, 200) for exponent in (-2.5, -3, -2)]
    assert max(trials)[0] >= -0.5


def test_goes_down_where_nothing_has_learned_and_higher_ones_are_worse() -> None:
    trials = run_whole(Bracket(1e-3, 1e-1), lambda lr, i: 1.0 + lr * i**2 if lr > 2e-4 else 1.0)
    assert min(trials)[0] <= -4  # below the lowest at the start
    assert max(trial[0] for trial in trials) == -1


def test_does_not_go_above_one_that_diverged() -> None:
    trials = run_whole(Bracket(1e-3, 1e-1), lambda lr, i: math.nan if lr > 0.02 and i else valley(1.0)(lr, i))
    assert trials == [*_first(-3, -1, -1.5, -2, -2.5), *((exponent, 1, 200) for exponent in (-2, -2.5))]


def test_goes_down_while_all_diverge() -> None:
    bracket = Bracket(1e-3, 1e-2)
    trials = run_whole(bracket, valley(1e-6, diverges_at=3e-6))
    assert trials == [
        *_first(-3, -2, -2.5, -3.5, -4, -4.5, -5, -5.5, -6, -6.5),
        *((exponent, 1, 200) for exponent in (-6, -6.5)),
    ]
    assert bracket.best.lr == pytest.approx(1e-6)


def test_goes_down_to_the_lowest_rate_there_is() -> None:
    bracket = Bracket(2e-3, 2e-2)
    with pytest.raises(ValueError, match=r"All 27 learning rates from 2e-15 to 0.02 diverge or fail within 40 steps"):
        run_whole(bracket, lambda lr, i: math.nan)  # noqa: ARG005
    assert bracket.spent == 27 * 3  # three values each


@pytest.mark.parametrize(
    "curve", [valley(1.0), valley(1e-6), _flat, _moves(1e-2, 1.0), _moves(1e-2, 1e-6), _slow(10.0), _slow(1e-6)]
)
def test_stays_in_the_range_if_told_so(curve: Curve) -> None:
    trials = run_whole(Bracket(1e-3, 1e-1, extends=False), curve)
    assert {lr for lr, _, _ in trials} == {-3, -2.5, -2, -1.5, -1}
    assert {rung for _, rung, _ in trials} >= {0, 1}


@pytest.mark.parametrize(
    ("max_steps", "steps"),
    [(1000, [40, 200, 400]), (300, [40, 200, 300]), (240, [40, 200]), (50, [40, 50]), (49, [40])],
)
def test_no_trial_is_longer_than_the_run(max_steps: int, steps: list[int]) -> None:
    bracket = Bracket(1e-3, 1e-2, extends=False, max_steps=max_steps, resumes_trials=True)
    trials = run_whole(bracket, _slow(10**-2.5))
    assert sorted({trial[2] for trial in trials}) == steps


def test_a_very_short_run_still_gives_one_value_a_trial() -> None:
    assert {trial.steps for trial in Bracket(1e-3, 1e-2, every=10, max_steps=35).ask()} == {30}
    assert {trial.steps for trial in Bracket(1e-3, 1e-2, every=10, max_steps=3).ask()} == {10}


def test_whole_values_are_recorded() -> None:
    bracket = Bracket(1e-3, 1e-2, every=30, extends=False)
    assert [trial[2] for trial in run_whole(bracket, valley(10**-2.5))] == [60] * 3 + [210] * 3


def test_no_more_than_1400_steps() -> None:
    bracket = Bracket(1e-12, 10.0)  # 27 learning rates of 40 steps: 320 steps are left
    trials = run_whole(bracket, _flat)
    assert [lr for lr, _, _ in trials[27:]] == [1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5]
    assert bracket.spent == 1400


def test_only_the_first_trials_of_a_very_wide_range_take_more() -> None:
    bracket = Bracket(1e-14, 1e5)
    trials = run_whole(bracket, valley(1.0))
    assert len(trials) == 39
    assert bracket.spent == 39 * 40


# In the first rung 5 trials of 40 steps. 800 steps are left for 4 trials, of which 3 are run.
@pytest.mark.parametrize(("resumes_trials", "steps"), [(False, 200), (True, 240)])
def test_a_trial_that_goes_on_costs_less(resumes_trials: bool, steps: int) -> None:
    bracket = Bracket(1e-3, 1e-1, budget=1000, extends=False, resumes_trials=resumes_trials)
    curve = valley(1e-2)
    while trials := bracket.ask():
        trial = trials[0]
        ran = 40 if resumes_trials and trial.rung == 1 else 0
        bracket.tell(trial, [curve(trial.lr, i) for i in range(trial.steps)], spent=trial.steps - ran)
    assert [outcome.trial.steps for outcome in bracket.rungs[1]] == [steps] * 3
    assert bracket.spent == 800


def test_a_budget_gives_longer_and_longer_rungs() -> None:
    bracket = Bracket(1e-3, 1e-1, budget=5000, extends=False)
    trials = run_whole(bracket, valley(1e-2))
    # (5000 - 200) / 4 = 1200; the 1200 that are left are too few for 4 trials that are longer still
    assert [trial[2] for trial in trials] == [40] * 5 + [1200] * 3


def test_steps_that_early_ends_save_go_to_the_later_rungs() -> None:
    patient, hasty = (Bracket(1e-3, 1.0, budget=1500, extends=False) for _ in range(2))
    run_whole(patient, valley(1e-2))
    run_whole(hasty, valley(1e-2, diverges_at=0.2))  # two learning rates diverge after 4 steps
    assert patient.rungs[1][0].trial.steps == (1500 - 7 * 40) // 4
    assert hasty.rungs[1][0].trial.steps == (1500 - 5 * 40 - 2 * 4) // 4


def test_what_cannot_be_paid_is_left_out() -> None:
    arguments: dict[str, Any] = {"budget": 7 * 40, "max_steps": None}
    assert len(run_whole(Bracket(1e-3, 1e-1, **arguments), valley(1e-2))) == 5  # 80 steps are left: 20 a trial
    assert len(run_whole(Bracket(1e-3, 1e-1, **arguments), valley(10.0))) == 7  # two beyond the end


def test_only_the_best_so_far_and_its_neighbours_may_continue() -> None:
    bracket, curve = Bracket(1e-3, 1.0, extends=False), valley(10**-2.1, diverges_at=0.5)
    kept = []
    for trial in bracket.ask()[:-1]:
        bracket.tell(trial, [curve(trial.lr, i) for i in range(4 if trial.lr > 0.5 else 40)])
        kept.append([round(math.log10(each.lr), 2) for each in bracket.told if bracket.may_continue(each.lr)])
    # told: -3, 0 (which diverges), -0.5, -1, -1.5, -2
    assert kept == [[-3], [-3], [-3], [-3], [-1, -1.5], [-1.5, -2]]
