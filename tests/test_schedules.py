"""Schedules against tables written out here, and against torch's CyclicLR."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_lr.schedules import Mode, amplitude, sweep_lrs, triangle

# up 2, down 4
TABLE = {0: 0.0, 1: 0.5, 2: 1.0, 3: 0.75, 4: 0.5, 5: 0.25, 6: 0.0, 7: 0.5, 8: 1.0, 12: 0.0}


@pytest.mark.parametrize("step", TABLE)
def test_triangle(step: int) -> None:
    assert triangle(step, 2, 4) == (1 + step // 6, TABLE[step])


@given(
    up=st.integers(1, 40),
    down=st.integers(1, 40),
    mode=st.sampled_from(["triangular", "triangular2", "exp_range"]),
    gamma=st.floats(0.9, 1.0),
    base_lr=st.floats(1e-5, 1e-2),
    factor=st.floats(1.0, 100.0),
)
@settings(max_examples=300, deadline=None)
def test_equals_torchs_cyclic_lr(up: int, down: int, mode: Mode, gamma: float, base_lr: float, factor: float) -> None:
    max_lr = base_lr * factor
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], base_lr)
    theirs = torch.optim.lr_scheduler.CyclicLR(optimizer, base_lr, max_lr, up, down, mode, gamma, cycle_momentum=False)
    for step in range(3 * (up + down)):
        cycle, height = triangle(step, up, down)
        ours = base_lr + (max_lr - base_lr) * height * amplitude(mode, step, cycle, gamma)
        # torch computes the phase as a float, so it is off by rounding where ours is exact
        assert ours == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9, abs=1e-15)
        optimizer.step()
        theirs.step()


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
