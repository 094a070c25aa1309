"""How trials are judged: their score, an early end, a verdict, and all of it with values that are not finite."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lightning_lr.search.progress import negligible
from lightning_lr.search.verdicts import diverges, is_behind, score, verdict

NOT_FINITE = [math.nan, math.inf, -math.inf]


def test_score_is_the_mean_of_the_last_third() -> None:
    assert score(np.array([5.0])) == 5.0
    assert score(np.arange(9.0)) == 7.0
    assert score(np.array([1.0, np.nan, 1.0, 3.0])) == 2.0
    assert score(np.array([9.0, 9.0, 9.0, 1.0, np.nan, 3.0])) == 3.0
    assert score(np.array([1.0, 1.0, np.nan, np.inf])) == math.inf
    assert score(np.full(21, 0.1)) == 0.1  # without rounding, so equal trials tie


def test_divergence() -> None:
    level = 1 + 0.9 * np.sin(1e4 * np.arange(60.0))  # batches of very different losses
    wild_start = np.concatenate([np.full(9, 20.0), np.full(51, 0.5)])
    assert not any(diverges(level[:n], level, 60) for n in range(1, 61))
    jump = np.concatenate([level[:30], level[30:] + 4.0])
    assert next(n for n in range(1, 61) if diverges(jump[:n], level, 60)) in range(34, 40)
    assert not diverges(jump, np.array([]), 60)
    assert diverges(jump, level[:50], 60)  # the level goes on with its mean
    assert not diverges(level, level[:30], 60)
    assert not diverges(np.append(level[:40], 20.0), level, 240)  # one bad batch among many
    assert not any(diverges(wild_start[:n], level, 60) for n in range(1, 15))


def test_a_loss_that_rises_by_half_and_falls_again_is_no_divergence() -> None:
    """As in fine-tuning with batches of 8: the level is noisy, and low in the last steps."""
    random = np.random.default_rng(0)
    for _ in range(100):
        level = 0.4 * random.gamma(2, 0.5, 40)
        bump = level + 0.4 * np.exp(-np.arange(40) / 8) - 0.1
        assert not any(diverges(bump[:n], level, 40) for n in range(1, 41))
        assert diverges(level + 1.5, level, 40)


def test_the_sum_of_huge_values_need_not_be_finite() -> None:
    assert diverges(np.linspace(1e308, 1.5e308, 60), np.ones(60), 60)


@pytest.mark.parametrize("bad", NOT_FINITE)
def test_three_values_in_a_row_that_are_not_finite_are_a_divergence(bad: float) -> None:
    level = np.full(60, 2.0)
    for end, expected in (([bad], False), ([bad, bad], False), ([bad, bad, bad], True), ([bad, bad, 2.0, bad], False)):
        assert diverges(np.array([2.0, *end]), np.array([]), 60) == expected
        assert diverges(np.array([2.0, *end]), level, 60) == expected
    assert diverges(np.array([bad, bad, bad]), np.array([]), 60)
    assert not diverges(np.array([bad, bad]), np.array([]), 60)


@pytest.mark.parametrize("bad", NOT_FINITE)
@pytest.mark.parametrize("where", ["costs", "level", "both"])
def test_single_values_that_are_not_finite_neither_make_nor_hide_a_divergence(bad: float, where: str) -> None:
    noise = 0.01 * np.sin(1e4 * np.arange(60.0))
    level, good, jump = 2 + 0 * noise, 2 + noise, 2 + noise + 6.0 * (np.arange(60) >= 30)
    at = [5, 20, 44, 58]
    if where != "costs":
        level[at] = bad
    if where != "level":
        good[at], jump[at] = bad, bad
    assert not any(diverges(good[:n], level, 60) for n in range(1, 61))
    assert next(n for n in range(1, 61) if diverges(jump[:n], level, 60)) in range(34, 44)


def test_behind() -> None:
    i = np.arange(60.0)
    batches = np.sin(1e4 * i)  # what both have in common
    falls, stands, late = 2 - i / 40 + batches, 2 + 0 * i + batches, 2 - np.maximum(0, i - 15) / 20 + batches
    fast_then_bad = 2 - i / 10 + np.maximum(0, i - 15) / 8 + batches
    assert not is_behind(stands[:16], falls)
    assert is_behind(stands[:17], falls)
    assert not any(is_behind(falls[:n], stands) for n in range(1, 61))
    assert not is_behind(late[:40], falls)  # is catching up
    assert not any(is_behind(falls[:n], fast_then_bad) for n in range(1, 61))
    assert not any(is_behind(falls[:n], falls) for n in range(1, 61))


def test_the_forecast_of_a_line_is_exact() -> None:
    costs = 3 - np.arange(60.0) / 40
    score_at_end = float(costs[40:].mean())
    for n in range(17, 61):
        assert is_behind(costs[:n], np.full(60, score_at_end - 1e-6))
        assert not is_behind(costs[:n], np.full(60, score_at_end + 1e-6))


def test_a_gap_counts_from_the_standard_deviation_of_the_mean_of_a_third_on() -> None:
    alternating = 0.5 * (-1.0) ** np.arange(62)  # neighbours differ by 1, thirds of 20 have the mean 0
    for share, expected in ((0.95, False), (1.05, True)):
        gap = share / np.sqrt(2 * 20)
        assert is_behind(1 + gap + alternating, np.ones(80)) == expected


def test_few_values_decide_after_a_quarter_and_two_more() -> None:
    for total, least in ((10, 5), (20, 7), (60, 17)):
        rival = np.linspace(2.0, 1.0, total)
        assert not is_behind(np.full(least - 1, 2.0), rival)
        assert is_behind(np.full(least, 2.0), rival)


def test_a_single_batch_does_not_decide_who_is_behind() -> None:
    """Of three steps each must say so. One value lifts the forecast at that step only."""
    i = np.arange(60.0)
    rival = 2 - i / 60
    for n in range(8, 61):
        costs = rival.copy()
        costs[n - 1] += 1.0
        assert not is_behind(costs[:n], rival)


def test_a_difference_within_its_noise_is_not_behind() -> None:
    i = np.arange(60.0)
    rival = 2 - i / 60
    for noise, is_behind_at_last in ((0.0, True), (2.0, False)):
        costs = rival + 0.2 + noise * (-1) ** i
        assert any(is_behind(costs[:n], rival) for n in range(20, 61, 2)) == is_behind_at_last


@pytest.mark.parametrize("fall", [0.0, 1.0])
def test_a_difference_that_does_not_matter_is_not_behind(fall: float) -> None:
    """The same batches leave no noise in it, so it would be seen however small it is."""
    i = np.arange(60.0)
    rival = 2 + 0.1 * np.sin(1e4 * i) - fall * (1 - np.exp(-i / 5))
    for above, is_last in ((0.5, False), (5.0, True)):
        costs = rival + above * negligible(rival)
        assert any(is_behind(costs[:n], rival) for n in range(1, 61)) == is_last
        assert verdict(0.3, costs, "completed", 0.01, rival) == ("good" if fall or not is_last else "high")


@pytest.mark.parametrize("bad", NOT_FINITE)
def test_single_values_that_are_not_finite_do_not_change_who_is_behind(bad: float) -> None:
    i = np.arange(60.0)
    falls, stands = 2 - i / 40, 2 + 0 * i
    for of_trial, of_rival in (([7, 25], []), ([], [7, 25, 55]), ([7, 25], [7, 25, 55])):
        fast, slow = falls.copy(), stands.copy()
        slow[of_trial], fast[of_rival] = bad, bad
        assert is_behind(slow[:30], fast)
        fast, slow = falls.copy(), stands.copy()
        fast[of_trial], slow[of_rival] = bad, bad
        assert not any(is_behind(fast[:n], slow) for n in range(1, 61))


def test_verdict() -> None:
    best = np.linspace(2.0, 1.0, 60)
    cases = {"very high": (1.0, best, "diverged"), "good": (0.02, best + 0.01, "completed")}
    cases |= {"high": (0.3, best + 0.5, "completed"), "low": (1e-3, best[:20] + 0.5, "dropped")}
    for expected, (lr, costs, end) in cases.items():
        assert verdict(lr, costs, end, 0.01, best) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(("offset", "expected"), [(0.0, "high"), (-1e-3, "good")])
def test_positive_costs_are_compared_by_their_logarithms(offset: float, expected: str) -> None:
    """The best one ends at a thousandth of its start, the other at a hundredth."""
    costs = {end: np.repeat([1.0, end], [40, 20]) + offset for end in (1e-3, 1e-2)}
    assert verdict(0.3, costs[1e-2], "completed", 0.01, costs[1e-3]) == expected


def test_verdict_compares_the_steps_that_both_have() -> None:
    best = np.linspace(2.0, 1.0, 40)
    longer = np.concatenate([best + 0.5, np.full(160, 0.0)])
    assert verdict(0.3, longer, "completed", 0.01, best) == "high"
    assert verdict(0.3, longer - 0.5, "completed", 0.01, best) == "good"


@pytest.mark.parametrize("bad", NOT_FINITE)
@pytest.mark.parametrize("at", [0, 30, 50, 59])
def test_a_verdict_leaves_single_values_out_that_are_not_finite(bad: float, at: int) -> None:
    best = np.linspace(2.0, 1.0, 60)
    best[at] = bad
    for lr, lack, expected in ((0.02, 0.01, "good"), (0.3, 0.5, "high"), (1e-3, 0.5, "low")):
        assert verdict(lr, best + lack, "completed", 0.01, best) == expected
        assert verdict(lr, np.linspace(2.0, 1.0, 60) + lack, "completed", 0.01, best) == expected
