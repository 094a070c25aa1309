"""The fall of the learning rate at the end of a run."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lightning_lr.adaptation.controller import LRController
from lightning_lr.adaptation.decay import FinalDecay
from lightning_lr.adaptation.rules import LongHorizon


def test_by_hand() -> None:
    """In a fifth of 20 steps: the first of them lies a fifth of the way down, the last four fifths."""
    decay = FinalDecay(4, 20)
    assert decay.start == 16
    factors = [decay.factor(step) for step in range(14, 20)]
    assert factors == pytest.approx([1, 1, *(1 - math.sqrt(i / 5) for i in (1, 2, 3, 4))])


@given(st.integers(1, 500), st.integers(0, 500))
def test_falls_in_the_last_steps_and_is_never_0_in_the_run(length: int, before: int) -> None:
    decay = FinalDecay(length, length + before)
    factors = [decay.factor(step) for step in range(length + before)]
    assert factors[:before] == [1.0] * before
    assert all(0 < later < earlier for earlier, later in pairwise([1.0, *factors[before:]]))
    # a checkpoint at the end holds the learning rate of a next step; 0 would end every training that begins from it
    assert decay.factor(length + before) == decay.factor(length + before + 100) == factors[-1]


def test_the_controller_uses_scale_times_factor() -> None:
    """The scale stays in the fall, though the slope has no end; measurements go on."""
    decay = FinalDecay(5, 30)
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(4))], 1e-6)
    controller = LRController(optimizer, LongHorizon, 15, every=1, decay=decay)
    rates, scales, new = [], [], []
    for _ in range(30):
        parameter = optimizer.param_groups[0]["params"][0]
        parameter.grad = torch.ones_like(parameter)
        controller.before_step()
        rates.append(optimizer.param_groups[0]["lr"])
        scales.append(controller.groups[0].scale)
        optimizer.step()
        controller.after_step()
        new += controller.decide(controller.measured.pop())
    assert rates == pytest.approx([1e-6 * scale * decay.factor(step) for step, scale in enumerate(scales)], rel=1e-12)
    assert scales[24] > 1.5 * scales[0]
    assert set(scales[25:]) == {scales[25]}
    assert all(new[1:])
