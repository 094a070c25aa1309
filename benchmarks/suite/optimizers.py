"""The optimizers of the settings, and Lion, which torch does not have."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from benchmarks.suite.setting import MakeOptimizers

# The first parts of the names of parameters that Muon does not train: embeddings, and the first and the last layer.
_OUTER = ("embedding", "positions", "head", "input", "output")


class Lion(Optimizer):
    """Steps by the sign of an interpolation between the momentum and the gradient.

    References:
        Xiangning Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023, arXiv:2302.06675.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for param in group["params"]:
                if param.grad is None:
                    continue
                mean = self.state[param].setdefault("exp_avg", torch.zeros_like(param))
                direction = (mean * beta1 + param.grad * (1 - beta1)).sign_()
                param.mul_(1 - group["lr"] * group["weight_decay"]).add_(direction, alpha=-group["lr"])
                mean.mul_(beta2).add_(param.grad, alpha=1 - beta2)
        return loss


def one(optimizer: Callable[..., Optimizer], **arguments: Any) -> MakeOptimizers:
    """One optimizer for all parameters that are trained."""

    def make(module: nn.Module, lr: float) -> list[Optimizer]:
        return [optimizer([each for each in module.parameters() if each.requires_grad], lr=lr, **arguments)]

    return make


def muon_and_adamw(adamw_ratio: float, **arguments: Any) -> MakeOptimizers:
    """Muon for the weights of the hidden layers, AdamW with ``adamw_ratio`` times its learning rate for the others."""

    def make(module: nn.Module, lr: float) -> list[Optimizer]:
        hidden: list[Tensor] = []
        others: list[Tensor] = []
        for name, param in module.named_parameters():
            (hidden if param.ndim == 2 and not name.startswith(_OUTER) else others).append(param)
        muon: Optimizer = torch.optim.Muon(hidden, lr, weight_decay=0.1, **arguments)  # type: ignore[attr-defined,unused-ignore]
        return [muon, torch.optim.AdamW(others, lr * adamw_ratio, betas=(0.9, 0.95))]

    return make
