"""Whether a sweep has seen a flat start and an edge."""

from __future__ import annotations

import numpy as np
import pytest

from lightning_lr.range_test.smoothing import Array
from lightning_lr.range_test.sweep_range import begins_too_high, still_falls_at_end

LRS = np.geomspace(1e-7, 10, 100)


def _noise(level: float, seed: int = 0) -> Array:
    noise: Array = level * np.random.default_rng(seed).normal(size=len(LRS))
    return noise


def _fall(lr: float) -> Array:
    """A loss that falls from 2 to 1, half of it at a learning rate."""
    fall: Array = 2 - 1 / (1 + (lr / LRS) ** 1.5)
    return fall


def _losses(losses: Array, ends_at: float = np.inf) -> list[float]:
    """The losses of the points before the sweep ends."""
    recorded: list[float] = losses[ends_at > LRS].tolist()
    return recorded


def test_noise_is_not_a_fall_from_the_first_points() -> None:
    too_high = [begins_too_high(LRS, _losses(4.17 + _noise(0.02, seed), ends_at=1.0)) for seed in range(200)]
    assert sum(too_high) == 0


def test_noise_hardly_ever_falls_at_the_end() -> None:
    falls = [still_falls_at_end(LRS, _losses(4.17 + _noise(0.02, seed))) for seed in range(200)]
    assert sum(falls) < 40


@pytest.mark.parametrize("number", [0, 1, 3, 20])
def test_a_sweep_that_ends_within_its_first_fifth_begins_too_high(number: int) -> None:
    assert begins_too_high(LRS, [2.0] * number)
    assert not begins_too_high(LRS, [2.0] * 21)


@pytest.mark.parametrize(
    ("lr", "expected"),
    [(1e-7, True), (1e-6, True), (1e-4, False), (1e-3, False), (1.0, False)],  # a fifth ends at 4e-6
)
def test_a_loss_that_falls_at_once(lr: float, expected: bool) -> None:
    for noise in (0.0, 0.01):
        assert begins_too_high(LRS, _losses(_fall(lr) + _noise(noise))) == expected
        assert begins_too_high(LRS, _losses(_fall(lr) + _noise(noise), ends_at=0.1)) == expected


def test_a_loss_that_falls_at_once_and_diverges_within_half_of_the_sweep() -> None:
    assert begins_too_high(LRS, _losses(1e6 * _fall(5e-7), ends_at=1e-4))
    assert not begins_too_high(LRS, _losses(1e6 * _fall(1e-5), ends_at=1e-3))


def test_a_fall_within_the_noise_does_not_begin_too_high() -> None:
    assert begins_too_high(LRS, _losses(_fall(1e-6) + _noise(0.01)))
    assert not begins_too_high(LRS, _losses(_fall(1e-6) + _noise(1.0)))


@pytest.mark.parametrize("offset", [0.0, -10.0])
def test_a_loss_that_still_falls_at_the_end(offset: float) -> None:
    for noise in (0.0, 0.01):
        assert still_falls_at_end(LRS, _losses(offset + _fall(10.0) + _noise(noise)))
        rises = np.where(LRS > 1, 3.0, _fall(1e-2))
        assert not still_falls_at_end(LRS, _losses(offset + rises + _noise(noise)))


def test_a_loss_that_does_not_change_does_not_fall() -> None:
    assert not still_falls_at_end(LRS, [2.0] * 100)
    assert not still_falls_at_end(LRS, np.linspace(1.0, 2.0, 100).tolist())


def test_less_than_ten_points_are_no_curve() -> None:
    assert not still_falls_at_end(LRS[:9], np.linspace(2.0, 1.0, 9).tolist())
    assert still_falls_at_end(LRS[:10], np.linspace(2.0, 1.0, 10).tolist())


def test_a_bounded_loss_that_never_diverges() -> None:
    """It falls, and at high learning rates it goes up to that of a guess and stays there."""
    losses = _losses(np.where(LRS > 0.3, 2.3, _fall(1e-2)) + _noise(0.02))
    assert not begins_too_high(LRS, losses)
    assert not still_falls_at_end(LRS, losses)
