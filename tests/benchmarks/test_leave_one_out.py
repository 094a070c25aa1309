"""What a suggestion is computed from, with constants that are chosen anew."""

from __future__ import annotations

import pytest

from benchmarks.suite.leave_one_out import BestTrials, Run, choose, choose_without_each, suggested_lr, suggested_max_lr
from benchmarks.suite.truth import STEPS, truth_of

_BEST = BestTrials(middle=0.1, steps=STEPS // 4, highest_peak=1.0, is_normalized=False)


def test_the_peak_is_limited_by_what_the_trials_allow() -> None:
    assert suggested_lr(_BEST, 0.5, 0.8) == pytest.approx(0.08)
    assert suggested_lr(_BEST._replace(is_normalized=True), 0.5, 0.8) == pytest.approx(0.05)
    assert suggested_max_lr(_BEST, 1.7) == pytest.approx(0.17)
    assert suggested_max_lr(_BEST._replace(highest_peak=0.1), 1.7) == pytest.approx(0.1)
    assert suggested_max_lr(_BEST._replace(highest_peak=0.1), 0.7) == pytest.approx(0.07)


def test_each_kind_of_updates_has_its_own_constant() -> None:
    """Here trials with SGD have found 1.25 times the best rate, and those with Adam twice the best one."""
    sgd, adam = (truth_of(name)["constant"].best_lr for name in ("characters/sgd", "characters/adam"))
    runs = [
        Run("characters/sgd", _BEST._replace(middle=1.25 * sgd)),
        Run("characters/adam", _BEST._replace(middle=2 * adam, is_normalized=True)),
    ]
    assert choose(runs)[:2] == pytest.approx((0.5, 0.8))


def test_a_single_task_leaves_none_to_choose_on() -> None:
    with pytest.raises(ValueError, match="at least two tasks, got digits"):
        choose_without_each([Run("digits/sgd", _BEST), Run("digits/adam", _BEST)])
