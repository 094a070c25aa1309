"""The form in which the values of the adaptation are logged."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from lightning_lr.adaptation.adapted_optimizer import AdaptedOptimizer
from lightning_lr.adaptation.controller import LRController
from lightning_lr.adaptation.rules import Alignment, LongHorizon
from lightning_lr.callbacks._adaptation_trace import values_to_log


def test_the_scale_as_its_logarithm_and_bad_measurements_only_if_there_are_any() -> None:
    parameters = [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))]
    optimizer = torch.optim.SGD([{"params": [each]} for each in parameters], 0.1)
    made = [LRController(optimizer, LongHorizon, 20, per_group=per_group) for per_group in (False, True)]
    one, two = (
        AdaptedOptimizer(name, controller, warn=print, after_return=print, guard=True)
        for name, controller in zip(("SGD", "Adam"), made, strict=True)
    )
    made[0].groups[0].alignment, made[0].groups[0].scale = Alignment(1.0, 2.0, 1.0), 1e-3
    made[0].groups[0].rule.sign_changes = 4
    made[1].groups[1].scale = 0.0  # below the smallest number
    made[1].not_finite = 2
    assert values_to_log([one, two]) == {
        "hypergradient/alignment/SGD": 0.5,
        "hypergradient/log10_scale/SGD": pytest.approx(-3.0),
        "hypergradient/turns/SGD": 4,
        "hypergradient/alignment/Adam/pg1": 0.0,
        "hypergradient/log10_scale/Adam/pg1": 0.0,
        "hypergradient/turns/Adam/pg1": 0,
        "hypergradient/alignment/Adam/pg2": 0.0,
        "hypergradient/log10_scale/Adam/pg2": -math.inf,
        "hypergradient/turns/Adam/pg2": 0,
        "hypergradient/not_finite/Adam": 2,
    }
    for adapted in (one, two):
        adapted.detach()
