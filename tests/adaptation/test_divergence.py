"""When training counts as diverged."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from lightning_lr.adaptation.divergence import DivergenceDetector


def _first(losses: list[float]) -> int | None:
    """At which loss it says so."""
    detector = DivergenceDetector()
    return next((i for i, loss in enumerate(losses) if detector.has_diverged(loss)), None)


@pytest.mark.parametrize("offset", [0.0, -100.0], ids=["positive", "negative losses"])
def test_a_loss_that_comes_back_up(offset: float) -> None:
    falling = [2.0 * 0.9**i + offset for i in range(40)]
    assert _first(falling) is None
    assert _first([*falling, *[2.0 + offset] * 9]) is None  # for less than 10 steps
    # the mean needs 6 steps to rise by 0.7: 1 - 0.8^6 = 0.74
    assert _first([*falling, *[2.0 + offset] * 30]) == 40 + 5 + 9
    assert _first([*falling, *[1.2 + offset] * 30]) is None  # 0.6 of the way


def test_noise_is_no_divergence() -> None:
    noise = np.random.default_rng(0).standard_normal(3000)
    assert _first(list(1 + noise)) is None
    assert _first(list(np.linspace(1, 0.5, 3000) + 0.3 * noise)) is None


def test_a_loss_that_never_falls_is_no_divergence() -> None:
    found = [_first(list(1 + np.random.default_rng(i).standard_normal(500))) for i in range(60)]
    assert sum(each is not None for each in found) <= 1  # the first loss of a run can be far off


def test_losses_of_few_digits_are_no_divergence() -> None:
    """Such as bfloat16 gives: most differences of a quiet loss are exactly 0."""
    for seed in range(10):
        losses = 10.82 + 0.03 * torch.randn(1000, generator=torch.Generator().manual_seed(seed))
        assert _first(losses.bfloat16().tolist()) is None
    assert _first([1.0] * 5 + [1 - 1e-7] * 3 + [1.0] * 200) is None


def test_a_loss_far_above_its_start() -> None:
    """It shows even where hardly anything was gained before: at once, and after fine-tuning."""
    random = np.random.default_rng(0)
    found = _first([4.0, 3.0, 2.0, 1.0, 1.0, 1.0, *[50 * 1.2**i for i in range(60)]])
    assert found is not None
    assert found < 30
    found = _first([*(1 + 0.05 * random.standard_normal(50)), *(100 + 10 * random.standard_normal(60))])
    assert found is not None
    assert found < 70


def test_a_network_that_has_died_is_stuck_and_quiet() -> None:
    """The noise of the wild steps before, which is as large as what was gained, does not hide it for long."""
    random = np.random.default_rng(0)
    wild = 2 + 0.4 * random.standard_normal(60)
    dead = 2.3 + 0.02 * random.standard_normal(60)
    found = _first([2.3, *wild, *dead])
    assert found is not None
    assert 61 <= found <= 61 + 20
    assert _first([2.3, *wild, *wild]) is None


def test_a_single_large_loss_is_no_divergence() -> None:
    """Though it lifts the mean for more than 10 steps."""
    random = np.random.default_rng(0)
    losses = 2 * np.exp(-np.arange(1000) / 20) + 0.3 + 0.05 * random.standard_normal(1000)
    spikes = losses + 120 * (random.random(1000) < 0.003)
    assert spikes.max() > 100
    assert _first(list(spikes)) is None
    assert _first([*losses, *[120.0] * 10]) is not None


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite(bad: float) -> None:
    assert _first([1.0, bad]) == 1
    assert _first([bad]) == 0


@pytest.mark.parametrize(
    "after",
    [
        [5.0, 6.0, 4.0, 5.5, 4.5] * 10,
        [0.3 * 3.0**i for i in range(40)],
        [1e6, 1.3e6, 0.7e6, 1.2e6] * 10,
    ],
)
def test_a_loss_that_blows_up_does_not_pass_for_noise(after: list[float]) -> None:
    falling = [1.1 - i / 100 for i in range(101)]
    found = _first([*falling, *after])
    assert found is not None
    assert 101 < found <= 101 + 15


def _trends(losses: Any) -> list[str]:
    detector = DivergenceDetector()
    trends: list[str] = []
    for loss in losses:
        detector.has_diverged(float(loss))
        trends.append(detector.trend)
    return trends


def test_a_loss_is_falling_while_it_gains_much_of_all_that_was_gained() -> None:
    noise = 0.02 * np.random.default_rng(0).standard_normal(300)
    steps = np.arange(100)
    fast = _trends([*(2.3 + noise[:100]), *(2.3 * np.exp(-steps / 15) + noise[100:200]), *(0.003 + noise[200:])])
    assert fast[50:100].count("falling") <= 2
    assert fast[105:120].count("falling") >= 13
    assert fast[200:].count("falling") <= 2
    # one that falls for as long as this is no news, however little noise there is
    assert "falling" not in _trends(2 - steps / 100)[40:]


def test_a_loss_has_risen_until_the_low_is_forgotten() -> None:
    random = np.random.default_rng(0)
    falling, noise = 2 * np.exp(-np.arange(200) / 20), 0.05 * random.standard_normal(500)
    assert "risen" not in _trends(falling + noise[:200])
    trends = _trends([*(falling + noise[:200]), *(0.3 + noise[200:])])
    assert trends[200:210].count("risen") >= 5
    assert trends[205:225] == ["risen"] * 20
    assert trends[300:].count("risen") <= 20
    # though there is no noise left that could hide it
    quiet = _trends([*(falling + 0.1), *[0.5] * 1000])
    assert 10 < quiet.count("risen") < 100


def test_a_lucky_first_loss_is_no_level_to_rise_from() -> None:
    for seed in range(20):
        losses = 2 + 0.1 * np.random.default_rng(seed).standard_normal(300)
        losses[0] = 1.7
        assert "risen" not in _trends(losses)


def test_a_loss_counts_as_far_above_its_start_until_it_is_back() -> None:
    detector, far = DivergenceDetector(), []
    random = np.random.default_rng(0)
    falling = 2 * np.exp(-np.arange(40) / 20) + 0.02 * random.standard_normal(40)
    for loss in (*falling, 3.0, 3.5, 4.0, 5.0, 3.5, 3.0, 1.0):  # it has come from 2 to 0.5
        detector.has_diverged(float(loss))
        far.append(detector.is_far_above)
    assert far == [False] * 41 + [False, True, True, False, False, False]
    # a loss that stays there is where training is now
    detector, far = DivergenceDetector(), []
    for loss in (*falling, *[5.0] * 40):
        detector.has_diverged(float(loss))
        far.append(detector.is_far_above)
    assert far == [False] * 40 + [True] * 30 + [False] * 10
    # where nothing was gained, ten deviations of the noise count
    detector, far = DivergenceDetector(), []
    for loss in (*(2 + 0.1 * random.standard_normal(60)), 2.5, 4.0, 1e3, 1e6):
        detector.has_diverged(float(loss))
        far.append(detector.is_far_above)
    assert not any(far[:-3])
    assert all(far[-3:])


def test_returns_are_forgotten_after_calm_steps() -> None:
    detector = DivergenceDetector()
    for expected in (1, 2):
        assert detector.has_diverged(math.nan)
        detector = detector.after_return()
        assert detector.returns == expected
    for loss in [1.0, None] * 49 + [1.0]:
        assert not detector.has_diverged(loss)
    assert detector.returns == 2
    assert not detector.has_diverged(None)
    assert detector.returns == 0
