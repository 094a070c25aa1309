"""The rules, against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_lr.adaptation import constants
from lightning_lr.adaptation.rules import (
    UNKNOWN_LOSS,
    Additive,
    Alignment,
    LongHorizon,
    LossState,
)

LEARNED, NOT_LEARNED, RISEN = LossState(), LossState(has_learned=False), LossState(False, has_risen=True)


def _aligned(cosine: float) -> Alignment:
    return Alignment(cosine, 1.0, 1.0)


def _factors(rule: LongHorizon, cosines: list[float], loss: LossState = UNKNOWN_LOSS) -> list[float]:
    return [rule.update(_aligned(cosine), 0.1, 1, loss) for cosine in cosines]


def test_long_horizon_begins_with_the_largest_change() -> None:
    """The first derivative is its own root mean square, so neither its size nor a dimension has a say."""
    for derivative in (0.3, 1e-6):
        assert _factors(LongHorizon(), [derivative] * 3, LEARNED) == pytest.approx([math.exp(0.03)] * 3)
        rises = [math.exp(0.1 * min(1.0, 2 * (1 - 0.9**n))) for n in range(1, 11)]  # by the mean, which begins at 0
        assert _factors(LongHorizon(), [derivative] * 10, NOT_LEARNED) == pytest.approx(rises)
        assert _factors(LongHorizon(), [derivative] * 3, RISEN) == pytest.approx([math.exp(0.03)] * 3)
    assert LongHorizon().update(_aligned(0.3), 0.1, 4, LEARNED) == pytest.approx(math.exp(2 * 0.03))
    assert _factors(LongHorizon(), [-0.3], LEARNED) == pytest.approx([math.exp(-0.03)])


def _at_its_best(sign_changes: int = 0) -> LongHorizon:
    """A rule that knows derivatives of root mean square 0.1 and mean 0."""
    corrected = 0.01 * (1 - 0.95**100)
    return LongHorizon(sign_changes, count=100, mean_square=corrected, mean_square_norm=1.0)


def test_long_horizon_steps_by_the_derivative_in_root_mean_squares() -> None:
    """It changes by its limit at half of one, or at one after 10 sign changes."""
    for sign_changes, halves in ((0, 1.0), (10, 0.5), (30, 0.25)):
        for derivative in (0.02, -0.02, 0.1, -0.1):
            rule = _at_its_best(sign_changes)
            square = 0.01 * (1 - 0.95**100) + 0.05 * (derivative**2 - 0.01 * (1 - 0.95**100))
            rms = math.sqrt(square / (1 - 0.95**101))
            expected = math.exp(0.03 * max(-1, min(1, 2 * halves * derivative / rms)))
            assert rule.update(_aligned(derivative), 0.1, 1) == pytest.approx(expected)
            assert rule.sign_changes == sign_changes  # a mean of 0 has no sign


def test_long_horizon_limits_single_derivatives() -> None:
    """To 3 %, up and down; √n times as much for n steps."""
    for steps, times in ((1, 1.0), (4, 2.0)):
        assert _at_its_best().update(_aligned(-1.0), 0.1, steps, LEARNED) == pytest.approx(math.exp(-0.03 * times))
        assert _at_its_best().update(_aligned(1.0), 0.1, steps, LEARNED) == pytest.approx(math.exp(0.03 * times))
        rising = LongHorizon(count=100, mean=1.0, mean_square=1.0, mean_square_norm=1.0)
        assert rising.update(_aligned(1.0), 0.1, steps, NOT_LEARNED) == pytest.approx(math.exp(0.1 * times))


def test_long_horizon_counts_sign_changes_of_the_mean() -> None:
    rule = _at_its_best()
    _factors(rule, [0.1, -0.05, -0.05])  # m = 0.01, 0.004, -0.0014
    assert rule.sign_changes == 1
    _factors(rule, [-0.1, 0.1])  # m = -0.011, -0.0001
    assert rule.sign_changes == 1
    _factors(rule, [0.1])  # m = 0.01
    assert rule.sign_changes == 2


def test_long_horizon_counts_no_sign_changes_before_anything_was_learned() -> None:
    """On a plateau they are noise, and the learning rate has not settled."""
    rule = LongHorizon()
    _factors(rule, [0.1, -0.3] * 20, NOT_LEARNED)
    assert rule.sign_changes == 0
    _factors(rule, [0.3, -0.3] * 20, RISEN)
    assert rule.sign_changes > 0


def test_long_horizon_does_not_rise_by_noise_before_anything_was_learned() -> None:
    """Rises by single derivatives would outweigh, since it does not fall."""
    random = np.random.default_rng(0)
    noise = random.standard_normal(2000)
    for shift, most in ((0.0, 0.5), (-0.5, 0.1)):
        rise = math.log(math.prod(_factors(LongHorizon(), list(0.01 * (noise + shift)), NOT_LEARNED)))
        by_single_ones = 0.1 * np.clip(2 * (noise + shift) / math.hypot(1, shift), 0, 1).sum()
        assert rise < most * by_single_ones


def test_long_horizon_does_not_fall_before_anything_was_learned() -> None:
    """Unless the loss has risen: then the learning rate is what keeps it from learning."""
    assert _factors(_at_its_best(), [-0.1] * 5, NOT_LEARNED) == [1.0] * 5
    assert all(factor < 1 for factor in _factors(_at_its_best(), [-0.1] * 5, RISEN))
    assert all(factor < 1 for factor in _factors(_at_its_best(), [-0.1] * 5, LEARNED))


def test_long_horizon_falls_once_the_mean_is_clearly_negative() -> None:
    """Losses with heavy tails never show that training has learned: the alignment has to do."""
    rule = LongHorizon()
    means = [1 - 0.9**n for n in range(1, 31)]  # in root mean squares
    factors = _factors(rule, [-0.1] * 30, NOT_LEARNED)
    assert [factor < 1 for factor in factors] == [mean > 0.7 for mean in means]
    assert min(factors) == pytest.approx(math.exp(-0.03))  # as if it had learned, and at most by the lower limit
    assert _factors(rule, [0.1], NOT_LEARNED)[0] == pytest.approx(math.exp(0.03))  # from then on
    assert _factors(rule, [0.1] * 30, NOT_LEARNED)
    assert _factors(rule, [-0.1], NOT_LEARNED)[0] < 1
    assert rule.sign_changes == 1


def test_long_horizon_counts_short_gradients_less() -> None:
    """Those of batches that are fitted already. A mean of cosines would count them as much as the long ones."""
    rule, norms = LongHorizon(), [1.0, 0.2, 3.0, 1000.0, 0.5]
    square = derivatives = 0.0
    for i, norm in enumerate(norms):
        limited = norm if i == 0 else min(norm, 10 * math.sqrt(square))
        square = limited**2 if i == 0 else square + 0.05 * (limited**2 - square)
        derivative = 0.4 * norm / max(norm, math.sqrt(square))
        derivatives += 0.1 * (derivative - derivatives)
        rule.update(Alignment(0.4 * norm * 5.0, norm, 5.0), 0.1, 1)
        assert rule.mean == pytest.approx(derivatives)
    assert math.sqrt(rule.mean_square_norm) < 10  # one wild gradient does not hide all that come after it


def test_long_horizon_without_a_derivative_stays() -> None:
    assert _factors(LongHorizon(), [0.0, 0.0, 0.0]) == [1.0] * 3


COSINES = st.lists(st.floats(-1, 1).filter(lambda c: c == 0 or abs(c) > 1e-100), min_size=1, max_size=200)
LOSSES = st.sampled_from([LossState(*pair) for pair in ((False, False), (False, True), (True, False), (True, True))])


@given(COSINES, LOSSES, st.integers(1, 20))
def test_long_horizon_keeps_its_bounds(cosines: list[float], loss: LossState, steps: int) -> None:
    rule, sign_changes = LongHorizon(), 0
    limit = 0.03 if loss.has_learned or loss.has_risen else 0.1
    for cosine in cosines:
        change = math.log(rule.update(_aligned(cosine), 0.1, steps, loss)) / math.sqrt(steps)
        assert change <= limit + 1e-12
        assert change >= (-limit if loss.has_learned or loss.has_risen else 0) - 1e-12
        if (loss.has_learned or loss.has_risen) and abs(cosine) > 1e-3:
            assert (change > 0) == (cosine > 0)
        assert rule.sign_changes - sign_changes in (0, 1)
        sign_changes = rule.sign_changes


@given(COSINES, st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), st.floats(-100, 0))
def test_long_horizon_has_no_unit(cosines: list[float], norm: float, length: float, exponent: float) -> None:
    """Neither of gradients and steps, nor of the cosine, which is small where there are many parameters."""
    ratio = 10.0 ** (exponent / 2)
    expected = _factors(LongHorizon(), cosines)
    rule = LongHorizon()
    found = [rule.update(Alignment(ratio * c * norm * length, norm, length), 0.1, 1) for c in cosines]
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("noise", [0.0, 0.3, 3.0])
@pytest.mark.parametrize("start", [0.01, 100.0])
def test_long_horizon_finds_where_the_derivative_is_0(start: float, noise: float) -> None:
    """In noise ten times the derivative at a factor of 1.3 too, to a factor of 2. From below as from above."""
    random, ends = np.random.default_rng(0), []
    for _ in range(10):
        rule, scale = LongHorizon(), start
        for _ in range(1000):
            derivative = 0.2 * math.tanh(-math.log(scale)) + 0.2 * noise * random.standard_normal()
            scale *= rule.update(_aligned(derivative), 0.1, 1)
        ends.append(math.log(scale))
    assert np.median(np.abs(ends)) < (0.7 if noise == 3 else 0.15)


def test_an_alignment_that_is_not_finite_counts_as_minus_one() -> None:
    lost = Alignment(math.nan, 1.0, math.inf)
    assert _at_its_best().update(lost, 0.1, 1) == _at_its_best().update(_aligned(-1.0), 0.1, 1) < 1
    assert Additive(1e-3).update(lost, 0.1, 1) == 1.0


def test_additive_halves_at_most() -> None:
    rule = Additive(1.0)
    assert rule.update(Alignment(-1e6, 1.0, 1.0), 0.1, 1) == 0.5
    assert rule.update(Alignment(1.0, 1.0, 1.0), 0.0, 1) == 1.0  # no step was made


@pytest.mark.parametrize("sign", [1, -1])
def test_long_horizon_stays_while_the_derivative_matters_little_to_the_loss(sign: int) -> None:
    """The derivative is ±2 · 3 · 0.5 = ±3 at each step, once its mean has settled."""
    alignment = Alignment(dot=3.0 * sign, gradient_norm=2.0, displacement_norm=3.0)

    def last_factor(gain: float) -> float:
        rule = LongHorizon()
        factors = [rule.update(alignment, 0.1, 1, LossState(gain=gain)) for _ in range(200)]
        return factors[-1]

    moves = math.exp(sign * constants.MAX_CHANGE)
    assert last_factor(0.0) == pytest.approx(moves)
    assert last_factor(0.99 * 3 / constants.NEGLIGIBLE_GAIN) == pytest.approx(moves)
    assert last_factor(1.01 * 3 / constants.NEGLIGIBLE_GAIN) == 1.0
