"""Trains many copies of a setting at once, each with its own learning rates.

The steps agree with those of torch's optimizers within 1e-6 over 8 steps (Muon within 2e-4).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from benchmarks.suite.copied_optimizers import UPDATES, State
from benchmarks.suite.setting import Batch, Loss, Setting
from lightning_lr.range_test.smoothing import Array

_DROPOUT_SEED = 99
Tensors = dict[str, Tensor]


class _LossModule(nn.Module):
    """A module whose output is the training loss."""

    def __init__(self, module: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.module, self.loss = module, loss

    def forward(self, *batch: Tensor) -> Tensor:
        return self.loss(self.module, batch)


class _CopiedOptimizers:
    """The optimizers of a setting, for all copies. What they are is read off the real ones of one module."""

    def __init__(self, setting: Setting, module: nn.Module) -> None:
        names = {id(param): f"module.{name}" for name, param in module.named_parameters()}
        self._kinds = {
            names[id(param)]: (UPDATES[type(optimizer).__name__], group)
            for optimizer in setting.optimizers(module, 1.0)  # so that "lr" of a group is its ratio
            for group in optimizer.param_groups
            for param in group["params"]
        }
        self._states: dict[str, State] = {name: {} for name in self._kinds}

    @torch.no_grad()
    def step(self, params: Tensors, grads: Tensors, lrs: Tensor) -> None:
        for name, grad in grads.items():
            update, group = self._kinds[name]
            lr = _like(lrs * group["lr"], grad).to(grad.dtype)
            update(self._states[name], params[name], grad, lr, group)


def train_copies(setting: Setting, lrs: Array, seeds: Sequence[int], device: torch.device | str = "cpu") -> Array:
    """Train copies of a setting.

    Args:
        setting: what is trained.
        lrs: learning rate of each copy at each step, shape [copies, steps].
        seeds: seed of the weights and of the batches of each copy.
        device: on which they are trained.

    Returns:
        Training losses, shape [copies, steps], NaN from the first one on that is not finite.
    """
    copies, steps = lrs.shape
    distinct = sorted(set(seeds))
    place = torch.tensor([distinct.index(seed) for seed in seeds])
    modules = [_build(setting, seed) for seed in distinct]
    base = modules[0]
    params = _stack([dict(module.named_parameters()) for module in modules], place, device)
    trained = {name: params[name].requires_grad_() for name, p in base.named_parameters() if p.requires_grad}
    frozen = {name: param for name, param in params.items() if name not in trained}
    buffers = _stack([dict(module.named_buffers()) for module in modules], place, device)
    batches = [setting.batches(steps, seed) for seed in distinct]
    optimizers = _CopiedOptimizers(setting, base.module)

    def loss(trained: Tensors, frozen: Tensors, buffers: Tensors, *batch: Tensor) -> Tensor:
        return functional_call(base, (trained, frozen, buffers), batch)  # type: ignore[no-any-return]

    losses_of = vmap(loss, randomness="different")
    rates = torch.tensor(lrs, device=device)
    losses = np.full((copies, steps), np.nan)
    torch.manual_seed(_DROPOUT_SEED)
    for step in range(steps):
        each: list[Batch] = [of_seed[step] for of_seed in batches]
        batch = [torch.stack(part)[place].to(device) for part in zip(*each, strict=True)]
        values = losses_of(trained, frozen, buffers, *batch)
        grads = dict(zip(trained, torch.autograd.grad(values.sum(), list(trained.values())), strict=True))
        losses[:, step] = values.detach().double().cpu().numpy()
        if not np.isfinite(losses[:, : step + 1]).all(1).any():
            break
        optimizers.step(trained, _clipped(grads, setting.clip), rates[:, step])
    losses[np.maximum.accumulate(~np.isfinite(losses), 1)] = np.nan
    return losses


def _build(setting: Setting, seed: int) -> _LossModule:
    torch.manual_seed(1000 + seed)
    return _LossModule(setting.build(), setting.loss).train()


def _stack(of_modules: Sequence[Tensors], place: Tensor, device: torch.device | str) -> Tensors:
    return {name: torch.stack([each[name].detach() for each in of_modules])[place].to(device) for name in of_modules[0]}


def _clipped(grads: Tensors, clip: float | None) -> Tensors:
    """The gradients of each copy, scaled so that their norm is at most ``clip``."""
    if clip is None:
        return grads
    squares = torch.stack([grad.flatten(1).pow(2).sum(1) for grad in grads.values()])
    factors = (clip / (squares.sum(0).sqrt() + 1e-6)).clamp(max=1)
    return {name: grad * _like(factors, grad) for name, grad in grads.items()}


def _like(values: Tensor, tensor: Tensor) -> Tensor:
    """One value a copy, in a shape that broadcasts to a tensor of all copies."""
    return values.view(-1, *([1] * (tensor.dim() - 1)))
