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


@pytest.mark.parametrize("is_base_used", [False, True])
def test_a_step_that_calls_the_step_of_its_base_is_one_step(is_base_used: bool) -> None:
    class Base(torch.optim.Optimizer):  # torch changes a class when it is first used
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            closure()

    class Derived(Base):
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            super().step(closure)
            super().step(closure)

    if is_base_used:
        Base([_parameter()], {}).step(int)
    optimizer, other, seen = Derived([_parameter()], {}), Derived([_parameter()], {}), list[int]()
    StepCounter(optimizer, seen.append)
    optimizer.step(int)
    with pytest.raises(ZeroDivisionError):
        optimizer.step(lambda: 1 / 0)
    optimizer.step(lambda: other.step(int))
    assert seen == [1, 2]
    count_of_other = StepCounter(other, lambda count: None)  # noqa: ARG005
    optimizer.step(lambda: other.step(int))
    assert (seen, count_of_other.count) == ([1, 2, 3], 2)


def test_a_base_without_a_step_of_its_own_may_be_used_later() -> None:
    """torch then gives it a wrapped one, as it does for AdamW, which inherits the step of Adam."""

    class Base(torch.optim.Optimizer):
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            closure()

    class Inherits(Base):
        pass

    class Derived(Inherits):
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            super().step(closure)

    optimizer = Derived([_parameter()], {})
    counter = StepCounter(optimizer, lambda count: None)  # noqa: ARG005
    optimizer.step(int)
    Inherits([_parameter()], {}).step(int)
    optimizer.step(int)
    assert counter.count == 2


def test_the_class_of_an_optimizer_may_change() -> None:
    class Derived(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            return super().step(closure)

    Derived([_parameter()])  # torch wraps its step
    optimizer = torch.optim.SGD([_parameter()])
    counter = StepCounter(optimizer, lambda count: None)  # noqa: ARG005
    optimizer.__class__ = Derived
    optimizer.step()
    assert counter.count == 1


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
