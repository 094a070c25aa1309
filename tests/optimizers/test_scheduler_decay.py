"""A schedule that falls to almost nothing starts at ``max_lr``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import Optimizer
from torch.optim import lr_scheduler as schedulers

from lightning_lr.optimizers.scheduler_decay import decays
from lightning_lr.optimizers.torch_schedulers import set_scheduler_lrs

LRS: dict[str, Any] = {"lr": 0.3, "base_lr": 0.15, "max_lr": 0.8, "decay_lr": 0.6, "one_cycle_max_lr": 0.9}
STEPS = 40


def optimizer() -> Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], 0.01)


def warm_up_then_down(step: int) -> float:
    return step / 8 if step < 8 else 1 - (step - 8) / 32


def fails_at_the_end(step: int) -> float:
    return [1.0, 0.5, 0.1][step]


DECAYS: dict[str, Callable[[Optimizer], Any]] = {
    "cosine": lambda o: schedulers.CosineAnnealingLR(o, STEPS),
    "cosine to a tenth": lambda o: schedulers.CosineAnnealingLR(o, STEPS, eta_min=0.001),
    "polynomial": lambda o: schedulers.PolynomialLR(o, STEPS),
    "line": lambda o: schedulers.LinearLR(o, 1.0, 0.05, STEPS),
    "exponential": lambda o: schedulers.ExponentialLR(o, 0.9),
    "steps": lambda o: schedulers.StepLR(o, 20, 0.3),
    "milestones": lambda o: schedulers.MultiStepLR(o, [10, 30], 0.3),
    "function": lambda o: schedulers.LambdaLR(o, warm_up_then_down),
    "warm-up, then cosine": lambda o: schedulers.SequentialLR(
        o, [schedulers.LinearLR(o, 0.1, 1.0, 8), schedulers.CosineAnnealingLR(o, STEPS - 8)], [8]
    ),
}
STAYS: dict[str, Callable[[Optimizer], Any]] = {
    "cosine of a longer run": lambda o: schedulers.CosineAnnealingLR(o, 2 * STEPS),
    "cosine to a fifth": lambda o: schedulers.CosineAnnealingLR(o, STEPS, eta_min=0.002),
    "line up": lambda o: schedulers.LinearLR(o, 0.05, 1.0, STEPS),
    "steps": lambda o: schedulers.StepLR(o, 30, 0.3),
    "milestones beyond the run": lambda o: schedulers.MultiStepLR(o, [10, 50], 0.3),
    "rising": lambda o: schedulers.ExponentialLR(o, 1.1),
    "constant": lambda o: schedulers.ConstantLR(o, 0.05, 4),
    "plateau": lambda o: schedulers.ReduceLROnPlateau(o),
    "a function that is not defined there": lambda o: schedulers.LambdaLR(o, fails_at_the_end),
    "decay after the run": lambda o: schedulers.SequentialLR(
        o, [schedulers.ConstantLR(o, 1.0, 1), schedulers.ExponentialLR(o, 0.1)], [2 * STEPS]
    ),
}


@pytest.mark.parametrize("name", DECAYS)
def test_a_decay_starts_at_max_lr(name: str) -> None:
    driven = optimizer()
    scheduler = DECAYS[name](driven)
    assert decays(scheduler, STEPS)
    assert set_scheduler_lrs(scheduler, [1.0], **LRS, num_steps=STEPS).lr == pytest.approx(0.6)
    lrs = []
    for _ in range(STEPS):
        lrs.append(float(driven.param_groups[0]["lr"]))
        driven.step()
        scheduler.step()
    assert max(lrs) == pytest.approx(0.6)


@pytest.mark.parametrize("name", STAYS)
def test_others_start_at_lr(name: str) -> None:
    scheduler = STAYS[name](optimizer())
    assert not decays(scheduler, STEPS)
    assert set_scheduler_lrs(scheduler, [1.0], **LRS, num_steps=STEPS).lr == pytest.approx(0.3)


@pytest.mark.parametrize("name", DECAYS)
def test_a_run_of_unknown_length(name: str) -> None:
    assert not decays(DECAYS[name](optimizer()), None)


def test_a_function_is_called_on_a_copy() -> None:
    class Counts:
        calls = 0

        def __call__(self, step: int) -> float:
            self.calls += 1
            return 1.0

    counts = Counts()
    scheduler = schedulers.LambdaLR(optimizer(), counts)
    before = counts.calls
    assert not decays(scheduler, STEPS)
    assert counts.calls == before
