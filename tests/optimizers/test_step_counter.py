"""Which calls of an optimizer count as finished steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_lr.optimizers.step_counter import StepCounter


def _parameter() -> torch.nn.Parameter:
    parameter = torch.nn.Parameter(torch.ones(3))
    parameter.grad = torch.ones(3)
    return parameter


def test_counts_on_and_calls_after_each_step() -> None:
    optimizer, seen = torch.optim.SGD([_parameter()], 0.1), list[int]()
    counter = StepCounter(optimizer, seen.append, count=5)
    optimizer.step()
    optimizer.step()
    counter.remove()
    optimizer.step()
    assert (counter.count, seen) == (7, [6, 7])


def test_lbfgs_evaluates_often_and_steps_once() -> None:
    parameter = _parameter()
    optimizer = torch.optim.LBFGS([parameter])
    counter = StepCounter(optimizer, lambda count: None)  # noqa: ARG005
    evaluations = 0

    def closure() -> Tensor:
        nonlocal evaluations
        evaluations += 1
        optimizer.zero_grad()
        loss = (parameter**4).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    assert counter.count == 1 < evaluations


BUILD: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "foreach": lambda parameter: torch.optim.Adam([parameter], foreach=True),
    "fused": lambda parameter: torch.optim.Adam([parameter], fused=True),
}


@pytest.mark.parametrize("kind", BUILD)
def test_steps_that_a_scaler_skips_are_not_counted(kind: str) -> None:
    parameter = _parameter()
    optimizer = BUILD[kind](parameter)
    counter = StepCounter(optimizer, lambda count: None)  # noqa: ARG005
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    for overflows in (False, True, False, True, True):
        optimizer.zero_grad()
        scaler.scale(parameter.sum() * (torch.inf if overflows else 1.0)).backward()  # type: ignore[no-untyped-call]
        scaler.step(optimizer)
        scaler.update()
    assert counter.count == 2
