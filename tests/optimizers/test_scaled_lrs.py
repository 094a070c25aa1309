"""Scaled learning rates: schedulers see the scheduled ones, the groups hold the scaled ones."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lightning_lr.optimizers.param_groups import get_lr
from lightning_lr.optimizers.scaled_lrs import ScaledLRs
from tests.optimizers.test_torch_schedulers import CYCLES, PLAIN

ALL: dict[str, Any] = {
    **PLAIN,
    **CYCLES,
    "ReduceLROnPlateau": lambda o, _: ReduceLROnPlateau(o, patience=1, min_lr=0.01, cooldown=1),
}
SCALES = [1.0, 3.0, 0.02, 0.5, 0.5, 7.0] * 3


def _optimizer(as_tensor: bool) -> torch.optim.Optimizer:
    rates: list[Any] = [0.05, 0.5]
    groups = [
        {
            "params": [torch.nn.Parameter(torch.ones(1))],
            "lr": torch.tensor(lr, dtype=torch.float64) if as_tensor else lr,
        }
        for lr in rates
    ]
    return torch.optim.Adam(groups, capturable=as_tensor, foreach=False)


def _step(optimizer: torch.optim.Optimizer, scheduler: Any) -> None:
    optimizer.step()
    scheduler.step(*[1.0] * isinstance(scheduler, ReduceLROnPlateau))


@pytest.mark.parametrize("as_tensor", [False, True], ids=["float", "tensor"])
@pytest.mark.parametrize("name", ALL)
def test_every_scheduler_steps_on_scheduled_learning_rates(name: str, as_tensor: bool) -> None:
    apart = _optimizer(as_tensor)
    alone = ALL[name](apart, 1.0)
    optimizer = _optimizer(as_tensor)
    scheduler = ALL[name](optimizer, 1.0)
    held = [group["lr"] for group in optimizer.param_groups]
    scaled = ScaledLRs(optimizer)
    scaled.watch(scheduler)
    state_before = scheduler.state_dict().keys()
    for scale in SCALES:
        scaled.take()
        scaled.write([scale, 2 * scale])
        expected = [get_lr(group) for group in apart.param_groups]
        assert scaled.scheduled() == pytest.approx(expected, rel=1e-12)
        used = [get_lr(group) for group in optimizer.param_groups]
        assert used == pytest.approx([expected[0] * scale, expected[1] * 2 * scale], rel=1e-12)
        _step(apart, alone)
        _step(optimizer, scheduler)
        # by the time that anything can look, the value of the coming step is scaled
        coming = [get_lr(group) for group in apart.param_groups]
        held_now = [get_lr(group) for group in optimizer.param_groups]
        assert held_now == pytest.approx([coming[0] * scale, coming[1] * 2 * scale], rel=1e-12)
    last = [[float(lr) for lr in each.get_last_lr()] for each in (scheduler, alone)]
    assert last[0] == pytest.approx(last[1], rel=1e-12)
    assert scheduler.state_dict().keys() == state_before
    if as_tensor:
        assert all(group["lr"] is lr for group, lr in zip(optimizer.param_groups, held, strict=True))
    kind = type(alone)
    assert isinstance(scheduler, kind)
    scaled.detach()
    assert type(scheduler) is kind


def test_a_tensor_is_never_set_above_the_highest_rate() -> None:
    """By a scheduler either; what the schedule has set is not forgotten."""
    optimizer = _optimizer(True)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: [1.0, 5.0, 0.1][step])
    scaled = ScaledLRs(optimizer, max_lr=0.2)
    scaled.watch(scheduler)
    scaled.write([2.0, 2.0])
    held = []
    for _ in range(2):
        held.append([get_lr(group) for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
        assert scaled.take()
        assert not scaled.take()
    held.append([get_lr(group) for group in optimizer.param_groups])
    assert torch.tensor(held).flatten().tolist() == pytest.approx([0.1, 0.2, 0.2, 0.2, 0.01, 0.1])


def test_what_others_write_is_a_scheduled_learning_rate() -> None:
    for as_tensor in (False, True):
        optimizer = _optimizer(as_tensor)
        scaled = ScaledLRs(optimizer)
        scaled.write([0.5, 0.5])
        group = optimizer.param_groups[0]
        if as_tensor:
            group["lr"].fill_(0.03)
        else:
            group["lr"] = float("0.03")
        scaled.take()
        scaled.write(scaled.scales)
        assert scaled.scheduled() == pytest.approx([0.03, 0.5])
        assert get_lr(group) == pytest.approx(0.015)
        scaled.take()
        scaled.write(scaled.scales)
        assert scaled.scheduled() == pytest.approx([0.03, 0.5])  # what it wrote itself is not taken


def test_what_a_rehearsal_puts_back_is_not_taken() -> None:
    """A tensor holds again what was written to it, under another version. A float is the same object again."""
    for as_tensor in (False, True):
        optimizer = _optimizer(as_tensor)
        scaled = ScaledLRs(optimizer)
        scaled.write([0.3, 0.3])
        group = optimizer.param_groups[0]
        before = group["lr"].clone() if as_tensor else group["lr"]
        if as_tensor:
            group["lr"].fill_(7.0)
            group["lr"].copy_(before)
        else:
            group["lr"] = 7.0
            group["lr"] = before
        scaled.take()
        assert scaled.scheduled() == pytest.approx([0.05, 0.5])


def test_a_group_that_is_given_no_rate_has_that_of_the_optimizer() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], 0.4)
    scaled = ScaledLRs(optimizer)
    scaled.write([0.5])
    optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))]})
    scaled.take()
    scaled.write(scaled.scales)
    assert [group["lr"] for group in optimizer.param_groups] == [0.2, 0.2]


def test_what_is_computed_from_the_groups_is_scaled_already() -> None:
    optimizer = _optimizer(False)
    scaled = ScaledLRs(optimizer)
    scaled.write([0.5, 0.5])
    optimizer.param_groups[1]["lr"] *= 0.1
    optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))], "lr": 0.0125})
    scaled.take(are_scaled=True)
    scaled.write(scaled.scales)
    assert scaled.scheduled() == pytest.approx([0.05, 0.05, 0.025])
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.025, 0.025, 0.0125])


def test_continues_from_scheduled_learning_rates() -> None:
    optimizer = _optimizer(True)
    scaled = ScaledLRs(optimizer)
    scaled.write([0.5, 2.0])
    again = _optimizer(True)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    resumed = ScaledLRs(again, scaled.scheduled())
    resumed.write([0.5, 2.0])
    assert [get_lr(group) for group in again.param_groups] == [get_lr(group) for group in optimizer.param_groups]
