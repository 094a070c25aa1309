"""Where the loss lies, against its first values and its noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_lr.adaptation.loss_level import LossLevel
from lightning_lr.adaptation.rules import LossState


def _after(losses: Any) -> LossLevel:
    level = LossLevel()
    for loss in losses:
        level.add(float(loss))
    return level


def _states(losses: Any) -> list[LossState]:
    level, states = LossLevel(), []
    for loss in losses:
        level.add(float(loss))
        states.append(level.state_of_loss())
    return states


def test_level_and_noise_by_hand() -> None:
    """A loss above the mean of the first ones so far, the 5 here, does not count as noise."""
    losses, mean, deviation = [3.0, 5.0, 4.0, 4.0, 3.5, 3.0], 3.0, 0.0
    for loss in losses:
        if loss < 5:
            deviation += 0.05 * (abs(loss - mean) - deviation)
        mean += 0.2 * (loss - mean)
    level = _after(losses)
    assert level.level == pytest.approx(mean)
    assert level.deviation == pytest.approx(deviation)
    assert level.count == 5
    assert level.lowest_level == 3.0
    assert level.first_losses == losses[:5]


def test_has_learned_by_two_and_a_half_deviations_below_the_first_losses() -> None:
    """Which are 4 ± 0.8 here, so that the level must fall below 4 - 2.5 · 0.8 = 2."""
    first = [3.0, 5.0, 4.0, 5.0, 3.0]
    level = _after(first)
    for _ in range(20):
        level.add(1.5)
        noise = max(0.8, level.deviation / (1 - 0.95**level.count))
        assert level.has_learned == (level.level < 4 - 2.5 * noise)
    assert level.has_learned
    assert _after([*first, *[1.5] * 20, *[4.0] * 50]).has_learned  # once is enough
    assert not _after([*first, *[2.1] * 50]).has_learned


def test_nothing_is_learned_within_the_first_losses() -> None:
    assert [state.has_learned for state in _states([4.0, 1.0, 0.1, 0.0, 0.0])] == [False] * 5


def test_has_risen_by_two_and_a_half_deviations_above_the_first_losses_until_it_is_back() -> None:
    risen = [state.has_risen for state in _states([*[4.0] * 5, *[5.0] * 10, *[4.0] * 60])]
    assert not any(risen[:5])
    assert all(risen[5:15])
    assert not any(risen[-30:])


def test_a_loss_that_rises_does_not_pass_for_noise() -> None:
    random = np.random.default_rng(0)
    flat = 2 + 0.1 * random.standard_normal(50)
    level = _after(flat)
    noise = level.deviation
    assert 1.25 * noise == pytest.approx(0.1, rel=0.5)
    for step in range(30):
        level.add(2 * 1.3**step)
    assert level.state_of_loss().has_risen
    assert level.deviation == pytest.approx(noise, rel=0.2)


@pytest.mark.parametrize("offset", [0.0, -100.0], ids=["positive", "negative losses"])
def test_noise_is_neither_learning_nor_a_rise(offset: float) -> None:
    """In hardly any of 100 runs, at any time. In 2 % of them, of 2000."""
    learned = risen = 0
    for seed in range(100):
        states = _states(offset + 2 + np.random.default_rng(seed).standard_normal(300))
        learned += states[-1].has_learned
        risen += any(state.has_risen for state in states)
    assert learned <= 6  # five losses are few to know the first ones by
    assert risen <= 8


def test_clear_progress_is_seen_soon() -> None:
    """A steep fall counts as noise at first, so in two of 20 runs it takes 20 and 22 steps, in the others fewer."""
    at = []
    for seed in range(20):
        noise = 0.3 * np.random.default_rng(seed).standard_normal(60)
        learned = [state.has_learned for state in _states(3 * np.exp(-np.arange(60) / 10) + noise)]
        at.append(learned.index(True))
    assert max(at) < 23
    assert sum(step < 20 for step in at) >= 18


def test_losses_of_few_digits() -> None:
    """Such as bfloat16 gives: most differences of a quiet loss are exactly 0."""
    for seed in range(10):
        losses = 10.82 + 0.03 * torch.randn(1000, generator=torch.Generator().manual_seed(seed))
        level = _after(losses.bfloat16().tolist())
        assert not level.is_far_above
    learned = [state.has_learned for state in _states([1.0] * 20 + [0.99] * 10)]
    assert not any(learned[:20])
    assert learned[-1]


def test_far_above_by_ten_gains() -> None:
    falling = [2.0 * 0.9**i for i in range(60)]
    level = _after(falling)
    first, gain = np.mean(falling[:5]), np.mean(falling[:5]) - level.lowest_level
    assert gain > 1.5
    above = first + 10 * gain
    level.add(level.level + (above - level.level) / 0.2 * 0.999)  # so that the level comes to just below it
    assert not level.is_far_above
    level.add(above + 1)
    assert level.is_far_above


def test_far_above_by_ten_deviations_where_nothing_was_gained() -> None:
    random = np.random.default_rng(0)
    flat = 2 + 0.1 * random.standard_normal(60)
    assert not _after([*flat, *[2.5] * 40]).is_far_above
    assert _after([*flat, *[6.0] * 10]).is_far_above


def test_nothing_is_far_above_the_first_losses_before_there_are_five() -> None:
    assert not _after([1.0, 1e9, 1e9, 1e9]).is_far_above


def test_without_losses_nothing_keeps_the_scale_from_falling() -> None:
    assert LossLevel().state_of_loss() == LossState(has_learned=True, has_risen=False, gain=0.0)
    assert _after([1.0]).state_of_loss() == LossState(has_learned=False, has_risen=False)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
def test_it_has_no_unit_and_no_zero(losses: list[float], offset: float, unit: float) -> None:
    """Multiplied by a number, all is the same. The level of a shifted loss is the shifted level."""
    one, times, shifted = _after(losses), _after([unit * x for x in losses]), _after([offset + x for x in losses])
    assert times.level == pytest.approx(unit * one.level, rel=1e-9, abs=1e-9 * unit * 1e6)
    assert shifted.level == pytest.approx(offset + one.level, rel=1e-9, abs=1e-3)
    assert one.lowest_level <= one.level
    assert one.lowest_level <= losses[0]
    assert min(losses) - 1e-6 <= one.level <= max(losses) + 1e-6
    assert not (one.is_far_above and not one.state_of_loss().has_risen)


def test_goes_on_from_its_state() -> None:
    losses = list(2 * np.exp(-np.arange(80) / 20) + 0.1 * np.random.default_rng(0).standard_normal(80))
    for cut in (2, 40):
        resumed = LossLevel()
        resumed.load_state(_after(losses[:cut]).state())
        for loss in losses[cut:]:
            resumed.add(loss)
        assert resumed == _after(losses)
