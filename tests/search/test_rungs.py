"""The best of a rung: by score, and on a plateau the highest learning rate that is no worse."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lightning_lr.range_test.smoothing import Array
from lightning_lr.search.rungs import Rungs
from lightning_lr.search.trial import Outcome, Trial
from lightning_lr.search.verdicts import End, score

ZIGZAG: Array = np.where(np.arange(40) % 2, -1.0, 1.0)
FLAT: Array = 2 + 0.1 * ZIGZAG
FALLS: Array = np.linspace(2.0, 1.5, 40) + 0.1 * ZIGZAG
NOISY: Array = 1.5 + 1.5 * ZIGZAG
Ended = tuple[float, Array, End]


def completed(lr: float, costs: Array) -> Ended:
    return lr, costs, "completed"


def dropped(lr: float, costs: Array) -> Ended:
    return lr, costs, "dropped"


def diverged(lr: float, costs: Array) -> Ended:
    return lr, costs, "diverged"


def best(*outcomes: Ended, sign: float = 1.0) -> float | None:
    """The learning rate that is the best of these outcomes, of which one has a lower cost."""
    trials = [Trial(lr, 0, 40) for lr, _, _ in outcomes]
    rungs = Rungs(trials, sign)
    for trial, (_, costs, end) in zip(trials, outcomes, strict=True):
        final = math.inf if end == "diverged" else score(costs)
        rungs.outcomes[trial] = Outcome(trial, tuple((sign * costs).tolist()), final, end)
    found = rungs.best()
    return None if found is None else found.lr


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_on_a_plateau_it_is_the_highest_below_one_that_does_worse(sign: float) -> None:
    lower, higher = completed(1e-3, FLAT), completed(1e-2, FLAT + 1e-5)
    for edge in (completed(1e-1, FLAT + 1), dropped(1e-1, FLAT + 1), diverged(1e-1, FLAT)):
        assert best(lower, higher, edge, sign=sign) == 1e-2
    assert best(lower, higher, sign=sign) == 1e-3


def test_a_trial_that_was_dropped_is_not_as_good() -> None:
    assert best(completed(1e-3, FLAT), dropped(1e-2, FLAT), diverged(1e-1, FLAT)) == 1e-3


def test_what_has_learned_is_not_judged_as_a_plateau() -> None:
    """A noisy trial has a better score, and its noise would make all others as good."""
    learned, noisy = completed(1e-3, FALLS), completed(1e-2, NOISY)
    higher = completed(1e-1, NOISY + 0.1)
    assert best(learned, noisy, higher, diverged(1.0, FLAT)) == 1e-2


def test_above_one_that_diverged_no_rate_is_preferred_for_being_high() -> None:
    edge, lower, higher = diverged(1e-4, FLAT), completed(1e-3, FLAT), completed(1e-2, FLAT)
    assert best(edge, lower, higher) == 1e-3
    assert best(completed(1e-5, FLAT + 0.01), edge, lower, higher) == 1e-5
    assert best(completed(1e-5, FLAT), completed(3e-5, FLAT), edge, lower) == 3e-5
