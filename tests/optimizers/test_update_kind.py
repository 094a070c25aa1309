"""`update_kind`: what an optimizer does decides, not its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import Optimizer

from lightning_lr.optimizers.update_kind import UpdateKind, update_kind


class _UnknownOptimizer(Optimizer):
    """Of nobody's library: Lion, or plain gradient descent, by ``sign``."""

    def __init__(self, params: list[Tensor], sign: bool) -> None:
        super().__init__(params, {"lr": 1e-3})
        self.sign = sign

    @torch.no_grad()
    def step(self, closure: object = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                update = parameter.grad.sign() if self.sign else parameter.grad
                parameter.sub_(group["lr"] * update)


class _CountsAndDraws(_UnknownOptimizer):
    """With counters outside of its state, and a random step."""

    def __init__(self, params: list[Tensor]) -> None:
        super().__init__(params, sign=True)
        self.steps, self.count = [0], torch.zeros(1)
        self.param_groups[0]["count"] = torch.zeros(1)

    @torch.no_grad()
    def step(self, closure: object = None) -> None:  # type: ignore[override]
        super().step()
        self.steps[0] += 1
        self.count += torch.rand(1)
        self.param_groups[0]["count"] += 1


class _ClampsParameters(torch.optim.SGD):
    """Calls the step of its base, around which torch wraps hooks once the base has been used."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        super().step(closure)
        for group in self.param_groups:
            torch._foreach_clamp_min_(group["params"], -100.0)


class _Wrapper(Optimizer):
    """Steps another optimizer, as Lookahead does."""

    def __init__(self, inner: Optimizer) -> None:
        self.inner = inner
        self.param_groups, self.state, self.defaults = inner.param_groups, inner.state, inner.defaults

    def step(self, closure: object = None) -> None:  # type: ignore[override]
        self.inner.step()


def _groups(params: list[Tensor], empty: bool = False) -> list[dict[str, Any]]:
    """The second one has momentum. Or the first one is empty, as if its parameters were frozen, and none has."""
    if empty:
        return [{"params": []}, {"params": params}]
    return [{"params": params[:1]}, {"params": params[1:], "momentum": 0.9}]


CASES: list[tuple[UpdateKind | None, Callable[[list[Tensor]], Optimizer]]] = [
    ("gradient", lambda params: torch.optim.SGD(params, lr=1e-3, weight_decay=0.1)),
    ("gradient", lambda params: torch.optim.ASGD(params)),
    ("gradient", lambda params: torch.optim.SGD(params, lr=1e-3, momentum=0.9, dampening=0.9)),  # the mean of gradients
    ("gradient", lambda params: _UnknownOptimizer(params, sign=False)),
    ("momentum", lambda params: torch.optim.SGD(params, lr=1e-3, momentum=0.9)),
    ("momentum", lambda params: torch.optim.SGD(params, lr=1e-3, momentum=0.5, nesterov=True, weight_decay=0.1)),
    ("momentum", lambda params: _Wrapper(torch.optim.SGD(params, lr=1e-3, momentum=0.9))),
    ("momentum", lambda params: torch.optim.SGD(_groups(params), lr=1e-3)),
    ("gradient", lambda params: torch.optim.SGD(_groups(params, empty=True), lr=1e-3)),
    (None, lambda params: torch.optim.SGD(_groups(params[:0]), lr=1e-3)),
    ("normalized", lambda params: torch.optim.AdamW(params, lr=torch.tensor(1e-3), capturable=False, foreach=False)),
    ("normalized", lambda params: torch.optim.RAdam(params)),  # its first five updates are not normalized
    ("normalized", lambda params: torch.optim.RMSprop(params, momentum=0.9)),
    ("normalized", lambda params: torch.optim.Adafactor(params)),
    (None, lambda params: torch.optim.LBFGS(params)),
    ("normalized", lambda params: _UnknownOptimizer(params, sign=True)),
    ("shrinking", lambda params: torch.optim.Adagrad(params)),
]


def _params() -> list[Tensor]:
    return [torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(2, 2))]


def test_a_step_that_calls_the_step_of_its_base() -> None:
    torch.optim.SGD(_params())  # from now on its step has hooks
    assert update_kind(_ClampsParameters(_params(), lr=1e-3, momentum=0.9)) == "momentum"


@pytest.mark.parametrize(("kind", "make"), CASES)
def test_kinds(kind: UpdateKind | None, make: Callable[[list[Tensor]], Optimizer]) -> None:
    assert update_kind(make(_params())) == kind


def _shown(optimizer: Optimizer) -> str:
    hidden = ("_hooks", "step", "inner")  # their addresses
    attributes = {name: value for name, value in vars(optimizer).items() if not name.endswith(hidden)}
    return repr((attributes, torch.get_rng_state().tolist()))


@pytest.mark.parametrize("make", [*(make for _, make in CASES), lambda params: _CountsAndDraws(params)])
def test_the_optimizer_is_as_before(make: Callable[[list[Tensor]], Optimizer]) -> None:
    params = _params()
    optimizer = make(params)
    calls: list[Any] = []
    if hasattr(optimizer, "_optimizer_step_post_hooks"):
        optimizer.register_step_post_hook(lambda *_: calls.append("hook"))
        # It replaces the method of the instance by one that steps this optimizer.
        torch.optim.lr_scheduler.StepLR(optimizer, 1)
    before = _shown(optimizer)
    update_kind(optimizer)
    assert _shown(optimizer) == before
    assert all(torch.equal(parameter, torch.ones_like(parameter)) for parameter in params)
    assert calls == []
