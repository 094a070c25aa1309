"""The learning rates of a range test."""

from __future__ import annotations

import numpy as np
import pytest

from lightning_lr.range_test.sweep_lrs import sweep_lrs


def test_sweeps() -> None:
    assert sweep_lrs(1e-4, 1.0, 5) == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1.0])
    assert sweep_lrs(0.1, 0.5, 5, "linear") == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((0.0, 1.0, 10), "min_lr"),
        ((-1.0, 1.0, 10), "min_lr"),
        ((np.nan, 1.0, 10), "min_lr"),
        ((1.0, 1.0, 10), "max_lr"),
        ((0.1, np.inf, 10), "max_lr"),
        ((0.1, 1.0, 1), "num_steps"),
        ((0.1, 1.0, 10, "zigzag"), "mode"),
    ],
)
def test_bad_sweeps(arguments: tuple[float, float, int], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be .*, got"):
        sweep_lrs(*arguments)
