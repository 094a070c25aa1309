"""DoG, Mechanic and MetaOptimize, written from their papers.

DoG takes the place of the optimizer. The others are around an optimizer that is made already, as those of a setting
are. They share its parameter groups, so that a scheduler drives both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


def _params(optimizer: Optimizer) -> list[Tensor]:
    """The parameters of an optimizer that have a gradient."""
    return [param for group in optimizer.param_groups for param in group["params"] if param.grad is not None]


def _norm(tensors: Iterable[Tensor]) -> Tensor:
    return torch.stack([each.pow(2).sum() for each in tensors]).sum().sqrt()


def _dot(first: Iterable[Tensor], second: Iterable[Tensor]) -> Tensor:
    return torch.stack([(a * b).sum() for a, b in zip(first, second, strict=True)]).sum()


class _AfterClosure(Optimizer):
    """An optimizer whose step runs the closure first."""

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.no_grad():
            self.step_with_grads(_params(self))
        return loss

    def step_with_grads(self, params: list[Tensor]) -> None:
        raise NotImplementedError


class DoG(_AfterClosure):
    """SGD whose rate is the largest distance from the first weights over the root of the sum of squared gradient norms.

    The average of the iterates, with which the paper evaluates, is left out: the training loss is that of the iterates.

    References:
        Maor Ivgi, Oliver Hinder and Yair Carmon, "DoG is SGD's Best Friend", 2023, arXiv:2302.12022.
    """

    def __init__(self, params: Iterable[Tensor], lr: float = 1.0, first_distance: float = 1e-6) -> None:
        super().__init__(params, {"lr": lr})
        self.first_distance = first_distance  # per 1 + norm of the first weights
        self.first: list[Tensor] = []
        self.distance = self.squares = torch.zeros(())

    def step_with_grads(self, params: list[Tensor]) -> None:
        if not self.first:
            self.first = [param.clone() for param in params]
            self.distance = self.first_distance * (1 + _norm(params))
        self.distance = self.distance.maximum(_norm(a - b for a, b in zip(params, self.first, strict=True)))
        grads = [param.grad for param in params if param.grad is not None]
        self.squares = self.squares + _norm(grads) ** 2
        rate = self.param_groups[0]["lr"] * self.distance / (self.squares + 1e-8).sqrt()
        for param, grad in zip(params, grads, strict=True):
            param -= rate * grad


class _Wrapper(_AfterClosure):
    """An optimizer around another one."""

    def __init__(self, inner: Optimizer) -> None:
        super().__init__(inner.param_groups, inner.defaults)  # the groups themselves, not copies
        self.inner = inner

    def _displacement(self, params: list[Tensor]) -> list[Tensor]:
        """What a step of the inner optimizer adds to each parameter."""
        before = [param.clone() for param in params]
        self.inner.step()
        return [param - old for param, old in zip(params, before, strict=True)]


class Mechanic(_Wrapper):
    """Scales the sum of all steps of the inner optimizer, which has a learning rate of 1, by what online learners find.

    The learner for each β bets a share of what it has won, which are the products of gradient and sum of steps so far.

    References:
        Ashok Cutkosky, Aaron Defazio and Harsh Mehta, "Mechanic: A Learning Rate Tuner", 2023, arXiv:2306.00144.
    """

    def __init__(self, inner: Optimizer, s_init: float = 1e-8, decay: float = 0.01, eps: float = 1e-8) -> None:
        super().__init__(inner)
        self.s_init, self.decay, self.eps = s_init, decay, eps
        self.betas = 1 - 0.1 ** torch.arange(1.0, 7.0)
        self.scales, self.wins = torch.zeros(6), torch.zeros(6)
        self.largest, self.squares = torch.full((6,), 1e-6), torch.zeros(6)
        self.first: list[Tensor] = []
        self.sums: list[Tensor] = []

    def step_with_grads(self, params: list[Tensor]) -> None:
        if not self.first:
            self.first, self.sums = [each.clone() for each in params], [torch.zeros_like(each) for each in params]
        grads = [param.grad.clone() for param in params if param.grad is not None]
        decay = self.decay * self.scales.sum() * _norm(grads) / (_norm(params) + self.eps)
        product = -_dot([grad + decay * param for grad, param in zip(grads, params, strict=True)], self.sums)
        for total, step in zip(self.sums, self._displacement(params), strict=True):
            total += step
        self.largest = (self.betas * self.largest).maximum(product.abs())
        self.squares = self.betas**2 * self.squares + product**2
        self.wins = (self.betas * self.wins + self.scales * product).clamp(min=0)
        wealth = self.s_init / len(self.betas) * self.largest + self.wins
        self.scales = wealth / (self.squares.sqrt() + self.eps)
        for param, first, total in zip(params, self.first, self.sums, strict=True):
            param.copy_(first + self.scales.sum() * total)


class MetaOptimize(_Wrapper):
    """Moves the logarithm of a scale of the learning rate by Lion, along the derivative of the loss by it.

    With learning rate α, weight decay λ and gradient g, the derivative is −⟨h, g⟩ with
    ``h ← (1 − 1/H) (1 − αλ) h − step`` of the inner optimizer. The meta step and H are those of the authors' code.

    References:
        Arsalan Sharifnassab, Saber Salehkaleybar and Richard Sutton, "MetaOptimize: A Framework for Optimizing Step
        Sizes and Other Meta-parameters", ICML 2025, arXiv:2402.02342.
    """

    def __init__(self, inner: Optimizer, meta_step: float = 1e-3, horizon: float = 10_000.0) -> None:
        super().__init__(inner)
        self.meta_step, self.horizon = meta_step, horizon
        self.log_scale = self.mean = torch.zeros(())
        self.trace: dict[Tensor, Tensor] = {}

    def step_with_grads(self, params: list[Tensor]) -> None:
        if self.trace:
            grads = [param.grad for param in params if param.grad is not None]
            product = _dot([self.trace[param] for param in params], grads)
            self.log_scale = self.log_scale + self.meta_step * (0.9 * self.mean + 0.1 * product).sign()
            self.mean = 0.99 * self.mean + 0.01 * product
        lrs = [group["lr"] for group in self.param_groups]
        for group, lr in zip(self.param_groups, lrs, strict=True):
            group["lr"] = lr * self.log_scale.exp().item()
        steps = dict(zip(params, self._displacement(params), strict=True))
        for group, lr in zip(self.param_groups, lrs, strict=True):
            keep = (1 - 1 / self.horizon) * (1 - group["lr"] * group.get("weight_decay", 0.0))
            for param in group["params"]:
                if param in steps:
                    self.trace[param] = keep * self.trace.get(param, torch.zeros_like(param)) - steps[param]
            group["lr"] = lr
