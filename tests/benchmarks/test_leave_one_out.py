"""What a suggestion is computed from, with constants that are chosen anew."""

from __future__ import annotations

import pytest

from benchmarks.suite.leave_one_out import BestTrial, Constants, suggested_lr, suggested_max_lr
from benchmarks.suite.truth import STEPS


def test_the_peak_is_limited_where_the_next_higher_rate_diverged() -> None:
    constants = Constants(exponent=0.5, max_lr_per_lr=2.5)
    best = BestTrial(lr=0.1, steps=STEPS // 4, is_at_edge=False)
    assert suggested_lr(best, constants.exponent) == pytest.approx(0.05)
    assert suggested_max_lr(best, constants) == pytest.approx(0.125)
    assert suggested_max_lr(best._replace(is_at_edge=True), constants) == pytest.approx(0.1)
