"""Whether a trial has learned anything, and whether it is still at its beginning."""

from __future__ import annotations

import itertools
import math

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_lr.range_test.smoothing import Array
from lightning_lr.search.progress import are_positive, has_learned, negligible, still_falls


def _step(fall: float, noise: float = 0.1, number: int = 33) -> Array:
    """A cost that falls once, after the first three, and goes up and down by the noise."""
    costs: Array = np.where(np.arange(number) < 3, 0.0, -fall) + noise * (-1.0) ** np.arange(number)
    return costs


def _naive_margin(costs: list[float]) -> float:
    """The fall less twice its noise."""
    finite = [math.isfinite(cost) for cost in costs]
    start = [cost for cost, is_finite in zip(costs[:3], finite[:3], strict=True) if is_finite]
    third = -math.ceil(len(costs) / 3)
    last = [cost for cost, is_finite in zip(costs[third:], finite[third:], strict=True) if is_finite]
    steps = [b - a for a, b in itertools.pairwise(costs) if math.isfinite(b - a)]
    mean = sum(steps) / len(steps)
    noise = math.sqrt(sum((step - mean) ** 2 for step in steps) / len(steps) / 2)
    return sum(start) / len(start) - sum(last) / len(last) - 2 * noise * math.sqrt(1 / 3 + 1 / -third)


def test_negligible_is_a_hundredth_of_the_fall_or_a_twentieth_of_its_noise() -> None:
    assert negligible(_step(10.0, noise=0.0)) == pytest.approx(0.1)
    noise_of_fall = 2 * 0.2 / math.sqrt(2) * math.sqrt(1 / 3 + 1 / 11)  # neighbours differ by 0.2
    assert negligible(_step(0.0)) == pytest.approx(noise_of_fall / 20, rel=1e-3)
    few = np.array([0.0, -1.0, -1.0, -1.0])  # too few to know the noise
    assert negligible(few) == pytest.approx((1 - 2 / 3) / 100)
    assert negligible(2 + few) == pytest.approx((4 / 3) ** 0.01 - 1)  # positive ones, by logarithms
    assert negligible(np.full(40, 2.0)) == 0
    assert negligible(np.array([1.0, 2.0, 3.0, 4.0])) == 0  # a rise
    assert negligible(np.tile([1.0, 2.0], 5)) > 0  # ten are enough to know the noise
    assert negligible(np.full(3, np.nan)) == 0


def test_negligible_of_positive_costs_is_a_share_of_their_logarithms() -> None:
    """A loss that falls to a thousandth of its start: one that ends ten times as high is not as good."""
    assert negligible(np.repeat([1.0, 1e-3], [20, 20])) == pytest.approx(1e-3 * (1000**0.01 - 1))
    assert negligible(np.repeat([1.0, 1e-3], [20, 20]) - 1e-3) == pytest.approx(0.999 / 100)


@pytest.mark.parametrize("value", [0.0, 1e-8, 1e-300])
def test_one_batch_whose_loss_is_nearly_0_changes_little(value: float) -> None:
    costs = np.concatenate([np.full(20, 2.0), 1 + 0.1 * np.sin(1e4 * np.arange(180))])
    usual = negligible(costs)
    costs[-30] = value
    assert usual / 2 < negligible(costs) < 2 * usual
    assert not still_falls(costs, are_positive(costs))


def test_without_a_finite_cost_in_a_part_nothing_is_said_of_it() -> None:
    assert not still_falls(np.array([1.0, 1.0, np.nan, 1.0]), positive=True)
    assert not still_falls(np.array([2.0, 2.0, 1.0, np.inf]), positive=True)
    assert not has_learned(np.array([np.nan, np.nan, np.nan, 1.0, *np.full(8, 1.0)]))
    assert negligible(np.array([1.0, np.nan])) == 0


def test_has_learned_if_it_fell_by_twice_the_noise_of_the_two_means() -> None:
    assert has_learned(np.linspace(2.0, 1.0, 40))
    assert not has_learned(np.full(40, 2.0))
    assert not has_learned(np.linspace(1.0, 2.0, 40))
    for number in (12, 33, 200):
        costs = _step(0.0, number=number)
        last = math.ceil(number / 3)
        noise = float(np.std(np.diff(_step(1.0, number=number)))) / math.sqrt(2)  # nearly that of any fall
        limit = 2 * noise * math.sqrt(1 / 3 + 1 / last) - (np.mean(costs[:3]) - np.mean(costs[-last:]))
        assert has_learned(_step(1.2 * limit, number=number))
        assert not has_learned(_step(0.5 * limit, number=number))


@pytest.mark.parametrize("number", [4, 8, 40, 200])
def test_equal_costs_are_no_fall_by_rounding(number: int) -> None:
    for cost in np.linspace(-3.0, 3.0, 100):
        assert not has_learned(np.full(number, cost))
        assert not still_falls(np.full(number, cost), cost > 0)


@pytest.mark.parametrize(
    ("costs", "expected"),
    [([9.0, 5.0, 1.0], True), ([1.0, 5.0], False), ([3.0, 3.0], False), ([4.0], True), ([np.nan, 4.0], True)],
)
def test_of_few_costs_any_fall_counts(costs: list[float], expected: bool) -> None:
    assert has_learned(np.array(costs)) == expected
    assert not still_falls(np.array(costs), positive=False)


@given(
    st.lists(st.floats(-2, 2) | st.sampled_from([math.nan, math.inf, -math.inf]), min_size=10, max_size=30),
    st.floats(0, 4),
)
def test_has_learned_is_its_formula(values: list[float], fall: float) -> None:
    costs = [value - fall * i / len(values) for i, value in enumerate(values)]
    third = -math.ceil(len(costs) / 3)
    hypothesis.assume(np.isfinite(costs[:3]).any() and np.isfinite(costs[third:]).any())
    hypothesis.assume(any(math.isfinite(b - a) for a, b in itertools.pairwise(costs)))
    margin = _naive_margin(costs)
    hypothesis.assume(abs(margin) > 1e-9)  # a rounding error
    assert has_learned(np.array(costs)) == (margin > 0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("at", [1, 20, 38])
def test_a_single_value_that_is_not_finite_does_not_matter(bad: float, at: int) -> None:
    for costs in (np.linspace(2.0, 1.0, 40), np.full(40, 2.0), np.exp(-np.arange(40) / 4)):
        broken = costs.copy()
        broken[at] = bad
        assert has_learned(broken) == has_learned(costs)
        assert still_falls(broken, are_positive(broken)) == still_falls(costs, are_positive(costs))


@pytest.mark.parametrize(
    ("costs", "expected"),
    [
        (np.linspace(2.0, 1.0, 200), True),  # the last quarter has 50 of about 166 steps
        (0.1 + np.exp(-np.arange(200) / 20), False),  # a fall that has ended
        (np.exp(-np.arange(200) / 20), True),  # it halves every 14 steps, to the last one
        (np.exp(-np.arange(200) / 20) - 1e-3, False),  # not all are positive, so they count as they are
        (np.exp(-np.arange(200) / 200), True),
        (np.full(200, 2.0), False),
        (2.0 - np.log1p(np.arange(200)), False),  # the last quarter has log(4/3) of log(200) = 5.3
        (np.linspace(-1.0, -2.0, 200), True),  # negative losses
    ],
)
def test_still_falls(costs: Array, expected: bool) -> None:
    assert still_falls(costs, are_positive(costs)) == expected


@pytest.mark.parametrize(("third_quarter", "expected"), [(0.30, True), (0.25, False)])
@pytest.mark.parametrize("offset", [0.0, -2.0])
def test_still_falls_if_the_last_quarter_has_more_than_a_fifth(
    third_quarter: float, expected: bool, offset: float
) -> None:
    costs = offset + np.repeat([1.0, third_quarter, 0.1], [20, 10, 10])
    # with 0.30: 0.20 of 1 - (4 * 0.30 + 10 * 0.1) / 14 = 0.84; with 0.25: 0.15 of 0.86
    assert still_falls(costs if offset else np.exp(costs), positive=not offset) == expected
