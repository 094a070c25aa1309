"""After a reset an optimizer steps as a new one does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from lightning_lr.adaptation.reset import OptimizerReset


class Eager(torch.optim.Optimizer):
    """An optimizer that torch does not have, whose state exists before the first step and is not 0."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, {"lr": lr})
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter] = {"sum": torch.full_like(parameter, 0.5)}

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                total = self.state[parameter]["sum"].add_(parameter.grad**2)
                parameter.addcdiv_(parameter.grad, total.sqrt(), value=-group["lr"])


OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "momentum": lambda p: torch.optim.SGD(p, 0.1, 0.9, 0.5),
    "Adam": lambda p: torch.optim.Adam(p, 0.1),
    "Adagrad": lambda p: torch.optim.Adagrad(p, 0.1, initial_accumulator_value=0.2),
    "NAdam": lambda p: torch.optim.NAdam(p, 0.1),
    "Rprop": lambda p: torch.optim.Rprop(p, 0.1),
    "Eager": lambda p: Eager(p, 0.1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_as_a_new_one(name: str) -> None:
    torch.manual_seed(0)
    start, gradients = torch.randn(5), torch.randn(6, 5)

    def steps(parameter: nn.Parameter, optimizer: torch.optim.Optimizer) -> torch.Tensor:
        with torch.no_grad():
            parameter.copy_(start)
        for gradient in gradients:
            parameter.grad = gradient.clone()
            optimizer.step()
        return parameter.detach().clone()

    parameter = nn.Parameter(torch.zeros(5))
    optimizer = OPTIMIZERS[name]([parameter])
    reset = OptimizerReset(optimizer)
    first = steps(parameter, optimizer)
    assert not torch.equal(steps(parameter, optimizer), first)
    for _ in range(2):
        reset()
        assert torch.equal(steps(parameter, optimizer), first)
