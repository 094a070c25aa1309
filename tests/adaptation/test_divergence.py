"""When training counts as diverged: by a loss that is not finite, or by loss and gradient together."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pytest

from lightning_lr.adaptation.divergence import DivergenceDetector


def _first(losses: Iterable[float], norms: Iterable[float]) -> int | None:
    """At which step it says so."""
    detector = DivergenceDetector()
    for i, (loss, norm) in enumerate(zip(losses, norms, strict=True)):
        is_lost = detector.add_loss(float(loss))
        if detector.is_far_off(float(norm)) or is_lost:
            return i
    return None


FALLING = [2.0 * 0.95**i for i in range(60)]


def test_loss_and_gradient_that_explode() -> None:
    """At the first step at which both are far above what they were: 20 times in one step, or grown by 3 each step."""
    assert _first([*FALLING, 500.0], [1.0] * 60 + [20.0]) == 60
    grown = [3.0**i for i in range(1, 9)]
    found = _first([*FALLING, *(0.1 * g * g for g in grown)], [1.0] * 60 + grown)
    assert found is not None
    assert found <= 60 + 4


def test_an_explosion_of_several_steps_whose_gradients_have_a_limit() -> None:
    """Cross-entropy: when the level of the loss is far above, gradients are no longer far above those just before."""
    losses = [2.3] * 5 + [0.01] * 295 + [0.05, 1.4, 5.2, 7.2, 8.5, 13.6, 17.5, 27.5, 37.5, 45.9, 58.4, 64.1, 82.2]
    norms = [0.09] * 300 + [0.7, 2.7, 5.9, 3.5, 5.4, 6.1, 3.2, 5.8, 8.3, 3.0, 5.5, 5.3, 5.5]
    found = _first([*losses, *[70.0] * 20], [*norms, *[5.5] * 20])
    assert found is not None
    assert 300 < found < 320


@pytest.mark.parametrize(("between", "is_divergence"), [(10, True), (30, False)])
def test_a_gradient_counts_for_twenty_measurements(between: int, is_divergence: bool) -> None:
    calm = [FALLING[-1]] * between
    found = _first([*FALLING, *calm, *[1e4] * 5], [*[1.0] * 60, 50.0, *[1.0] * (between + 4)])
    assert (found is not None) == is_divergence


@pytest.mark.parametrize("norm", [0.001, 1.0, 9.9])
def test_a_loss_alone_is_no_divergence(norm: float) -> None:
    """A term of it may grow by a schedule."""
    assert _first([*FALLING, *[1e6] * 50], [1.0] * 60 + [norm] * 50) is None
    assert _first([*FALLING, *(1.5**i for i in range(50))], [1.0] * 60 + [norm] * 50) is None


def test_a_gradient_alone_is_no_divergence() -> None:
    """A batch of outliers may have a huge one, with a loss that is hardly above the others."""
    assert _first([*FALLING, *[FALLING[-1]] * 50], [1.0] * 60 + [1e6, 1.0] * 25) is None


def test_a_switch_of_data_is_no_divergence() -> None:
    """The loss comes back to where it began, or twice as high, and gradients to a few times what they were."""
    for factor in (1.0, 2.0):
        losses = [*FALLING, *(factor * loss for loss in FALLING)]
        assert _first(losses, [0.1 + loss for loss in FALLING] * 2) is None


def test_noise_is_no_divergence() -> None:
    for seed in range(30):
        random = np.random.default_rng(seed)
        losses, norms = 1 + random.standard_normal(1000), np.exp(0.5 * random.standard_normal(1000))
        assert _first(losses, norms) is None
        spikes = losses + 50 * (random.random(1000) < 0.01)
        assert _first(spikes, norms) is None


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite(bad: float) -> None:
    assert _first([1.0, bad], [1.0, 1.0]) == 1
    assert _first([bad], [1.0]) == 0


def test_a_gradient_that_is_not_finite_is_left_out() -> None:
    """It is skipped by a GradScaler, or the parameters will show it."""
    detector = DivergenceDetector()
    detector.is_far_off(2.0)
    for bad in (math.inf, math.nan):
        assert not detector.is_far_off(bad)
    assert detector.mean_square_norm == 4.0


def test_usual_norm_by_hand() -> None:
    """One wild gradient counts as ten times the usual one, so that it does not hide the next."""
    detector, square = DivergenceDetector(), 9.0
    detector.is_far_off(3.0)
    for norm in (1.0, 4.0, 1e9, 2.0):
        detector.is_far_off(norm)
        square += 0.05 * (min(norm, 10 * math.sqrt(square)) ** 2 - square)
        assert detector.mean_square_norm == pytest.approx(square)


def test_after_a_return_the_loss_begins_at_its_lowest() -> None:
    """So that the high losses of a divergence do not count again, and the usual gradient is that before it."""
    detector = DivergenceDetector()
    for loss, norm in zip([*FALLING, 500.0, 500.0], [1.0] * 60 + [5.0, 20.0], strict=True):
        detector.add_loss(loss)
        found = detector.is_far_off(norm)
    assert found
    after = detector.after_return()
    assert after.losses.level == detector.losses.lowest_level < 0.2
    assert after.losses.first_losses == detector.losses.first_losses
    assert after.losses.has_learned
    assert after.mean_square_norm == detector.mean_square_norm
    assert not after.is_far_off(20.0)
    assert detector.losses.level > 50  # it is another one


def test_returns_are_forgotten_after_calm_steps() -> None:
    detector = DivergenceDetector()
    for expected in (1, 2):
        assert detector.add_loss(math.nan)
        detector = detector.after_return()
        assert detector.returns == expected
    for loss in [1.0, None] * 49 + [1.0]:
        assert not detector.add_loss(loss)
    assert detector.returns == 2
    assert not detector.add_loss(None)
    assert detector.returns == 0


def test_goes_on_from_its_state() -> None:
    detector = DivergenceDetector()
    for loss in FALLING:
        detector.add_loss(loss)
        detector.is_far_off(loss)
    detector = detector.after_return()
    detector.add_loss(None)
    resumed = DivergenceDetector()
    resumed.load_state(detector.state())
    assert resumed == detector
