"""A scheduler whose learning rates were set gives the same values as one that was built with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler as schedulers
from torch.optim.swa_utils import SWALR

from lightning_lr.optimizers.param_groups import get_lr
from lightning_lr.optimizers.torch_schedulers import set_scheduler_lrs

RATES: dict[str, Any] = {"lr": 0.3, "base_lr": 0.15, "max_lr": 0.6, "decay_lr": 0.5, "one_cycle_max_lr": 0.9}
RATIOS = [0.1, 1.0]
Build = Callable[[torch.optim.Optimizer, float], Any]

# name -> how it is built, given the optimizer and its highest learning rate (in CYCLES: a factor of the rates)
PLAIN: dict[str, Build] = {
    "LambdaLR": lambda o, _: schedulers.LambdaLR(o, lambda t: 1 / (1 + t)),
    "MultiplicativeLR": lambda o, _: schedulers.MultiplicativeLR(o, lambda _t: 0.9),
    "StepLR": lambda o, _: schedulers.StepLR(o, 3),
    "MultiStepLR": lambda o, _: schedulers.MultiStepLR(o, [2, 5]),
    "ConstantLR": lambda o, _: schedulers.ConstantLR(o, 0.5, 4),
    "LinearLR": lambda o, _: schedulers.LinearLR(o, 0.1, total_iters=6),
    "ExponentialLR": lambda o, _: schedulers.ExponentialLR(o, 0.8),
    "PolynomialLR": lambda o, _: schedulers.PolynomialLR(o, 15, 2.0),
    "CosineAnnealingLR": lambda o, _: schedulers.CosineAnnealingLR(o, 20, eta_min=1e-3),
    "CosineAnnealingWarmRestarts": lambda o, _: schedulers.CosineAnnealingWarmRestarts(o, 5, 2, eta_min=1e-3),
    "SequentialLR": lambda o, _: schedulers.SequentialLR(
        o, [schedulers.LinearLR(o, 0.1, total_iters=4), schedulers.CosineAnnealingLR(o, 16, eta_min=1e-3)], [4]
    ),
    "ChainedScheduler": lambda o, _: schedulers.ChainedScheduler(
        [schedulers.ConstantLR(o, 0.1, 3), schedulers.ExponentialLR(o, 0.9)], o
    ),
    "SWALR": lambda o, _: SWALR(o, swa_lr=0.05, anneal_epochs=4),
}
CYCLES: dict[str, Build] = {
    "CyclicLR": lambda o, factor: schedulers.CyclicLR(
        o, [0.15 * r * factor for r in RATIOS], [0.6 * r * factor for r in RATIOS], 3, cycle_momentum=False
    ),
    "OneCycleLR": lambda o, factor: schedulers.OneCycleLR(o, [0.9 * r * factor for r in RATIOS], 20),
}


def _optimizer(lr: float, as_tensor: bool = False) -> torch.optim.Optimizer:
    groups = [{"params": [torch.nn.Parameter(torch.ones(1))], "lr": lr * ratio} for ratio in RATIOS]
    if as_tensor:
        for group in groups:
            group["lr"] = torch.tensor(group["lr"], dtype=torch.float64)
    return torch.optim.Adam(groups, capturable=as_tensor, foreach=False)


def _trace(optimizer: torch.optim.Optimizer, scheduler: Any, steps: int) -> list[float]:
    rates: list[float] = []
    for _ in range(steps):
        rates.extend(get_lr(group) for group in optimizer.param_groups)
        optimizer.step()
        scheduler.step()
    return rates


def test_every_scheduler_of_torch_is_here() -> None:
    public = {name for name in schedulers.__all__ if name != "LRScheduler"}
    assert public == (PLAIN.keys() | CYCLES.keys() | {"ReduceLROnPlateau"}) - {"SWALR"}


@pytest.mark.parametrize("as_tensor", [False, True], ids=["float", "tensor"])
@pytest.mark.parametrize(
    ("name", "steps_before"),
    # SWALR goes from the learning rate of the last step to an absolute target, so it depends on earlier steps
    [(name, steps) for name in [*PLAIN, *CYCLES] for steps in (0, 2, 7) if steps == 0 or name != "SWALR"],
)
def test_equals_a_scheduler_built_with_the_rates(name: str, steps_before: int, as_tensor: bool) -> None:
    build = {**PLAIN, **CYCLES}[name]
    old = _optimizer(0.01, as_tensor)
    scheduler = build(old, 0.01)
    _trace(old, scheduler, steps_before)
    kept = [group["lr"] for group in old.param_groups]
    set_scheduler_lrs(scheduler, RATIOS, **RATES)

    new = _optimizer(RATES["lr"], as_tensor)
    expected = build(new, 1.0)
    _trace(new, expected, steps_before)
    assert _trace(old, scheduler, 9) == pytest.approx(_trace(new, expected, 9), rel=1e-6)
    last, expected_last = ([float(lr) for lr in each.get_last_lr()] for each in (scheduler, expected))
    assert last == pytest.approx(expected_last, rel=1e-6)
    if as_tensor:
        assert all(group["lr"] is tensor for group, tensor in zip(old.param_groups, kept, strict=True))


def test_plateau_goes_on_from_the_new_rate() -> None:
    optimizer = _optimizer(0.01)
    scheduler = schedulers.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
    set_scheduler_lrs(scheduler, RATIOS, **RATES)
    for metric in (1.0, 2.0):
        scheduler.step(metric)
    assert [get_lr(group) for group in optimizer.param_groups] == pytest.approx([0.015, 0.15])


def test_a_group_at_zero_stays_at_zero() -> None:
    frozen = {"params": [torch.nn.Parameter(torch.ones(1))], "lr": 0.0}
    trained = {"params": [torch.nn.Parameter(torch.ones(1))], "lr": 0.1}
    optimizer = torch.optim.SGD([frozen, trained])
    set_scheduler_lrs(schedulers.StepLR(optimizer, 3), [0.0, 1.0], **RATES)
    assert [get_lr(group) for group in optimizer.param_groups] == [0.0, 0.3]
