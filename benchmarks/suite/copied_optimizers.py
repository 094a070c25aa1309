"""The steps of torch's optimizers, for many copies of a parameter at once.

Parameters and gradients have shape [copies, *shape]. The learning rates have shape [copies, 1, ...].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

State = dict[str, Any]
Group = dict[str, Any]
# Changes a parameter in place, given its state, itself, its gradient, the learning rates and its parameter group.
Update = Callable[[State, Tensor, Tensor, Tensor, Group], None]


def _sgd(state: State, param: Tensor, grad: Tensor, lr: Tensor, group: Group) -> None:
    if group["weight_decay"]:
        grad = grad + group["weight_decay"] * param
    momentum = group["momentum"]
    if momentum:
        mean = _zeros(state, "momentum", param).mul_(momentum).add_(grad)
        grad = grad + momentum * mean if group["nesterov"] else mean
    param -= lr * grad


def _adamw(state: State, param: Tensor, grad: Tensor, lr: Tensor, group: Group) -> None:
    param.mul_(1 - lr * group["weight_decay"])
    step = _count(state)
    beta1, beta2 = group["betas"]
    mean = _zeros(state, "mean", param).lerp_(grad, 1 - beta1)
    square = _zeros(state, "square", param).mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
    param -= lr * (mean / (1 - beta1**step)) / ((square / (1 - beta2**step)).sqrt() + group["eps"])


def _adam(state: State, param: Tensor, grad: Tensor, lr: Tensor, group: Group) -> None:
    if group["weight_decay"]:
        grad = grad + group["weight_decay"] * param
    _adamw(state, param, grad, lr, {**group, "weight_decay": 0})


def _rmsprop(state: State, param: Tensor, grad: Tensor, lr: Tensor, group: Group) -> None:
    square = _zeros(state, "square", param).mul_(group["alpha"]).addcmul_(grad, grad, value=1 - group["alpha"])
    param -= lr * grad / (square.sqrt() + group["eps"])


def _adagrad(state: State, param: Tensor, grad: Tensor, lr: Tensor, group: Group) -> None:
    param -= lr * grad / (_zeros(state, "square", param).addcmul_(grad, grad).sqrt() + group["eps"])


def _lion(state: State, param: Tensor, grad: Tensor, lr: Tensor, group: Group) -> None:
    beta1, beta2 = group["betas"]
    mean = _zeros(state, "mean", param)
    param.mul_(1 - lr * group["weight_decay"])
    param -= lr * (mean * beta1 + grad * (1 - beta1)).sign()
    mean.mul_(beta2).add_(grad, alpha=1 - beta2)


def _muon(state: State, param: Tensor, grad: Tensor, lr: Tensor, group: Group) -> None:
    """In float32, where torch orthogonalizes in bfloat16: they differ by about 2e-4."""
    mean = _zeros(state, "mean", param).lerp_(grad, 1 - group["momentum"])
    update = grad.lerp(mean, group["momentum"]) if group["nesterov"] else mean
    rows, columns = param.shape[-2:]
    update = update.mT if rows > columns else update
    update = update / update.norm(dim=(-2, -1), keepdim=True).clamp(min=group["eps"])
    a, b, c = group["ns_coefficients"]
    for _ in range(group["ns_steps"]):
        gram = update @ update.mT
        update = a * update + (b * gram + c * gram @ gram) @ update
    update = update.mT if rows > columns else update
    is_like_adamw = group["adjust_lr_fn"] == "match_rms_adamw"
    factor = 0.2 * max(rows, columns) ** 0.5 if is_like_adamw else max(1, rows / columns) ** 0.5
    param.mul_(1 - lr * group["weight_decay"])
    param -= lr * factor * update


def _adafactor(state: State, param: Tensor, grad: Tensor, lr: Tensor, group: Group) -> None:
    eps1, eps2 = group["eps"]
    eps1 = eps1 or torch.finfo(param.dtype).eps
    step = _count(state)
    weight = float(step) ** group["beta2_decay"]
    step_size = _rms(param).clamp(min=eps2) * lr.clamp(max=step**-0.5)
    squares = grad.pow(2)
    if param.dim() > 2:  # a matrix
        row = _zeros(state, "row", squares[..., :1]).lerp_(squares.mean(-1, keepdim=True), weight)
        column = _zeros(state, "column", squares[..., :1, :]).lerp_(squares.mean(-2, keepdim=True), weight)
        square = row @ column / row.mean(-2, keepdim=True).clamp(min=eps1)
    else:
        square = _zeros(state, "square", param).lerp_(squares, weight)
    update = square.clamp(min=eps1 * eps1).rsqrt() * grad
    param -= step_size * update / (_rms(update) / group["d"]).clamp(min=1)


def _count(state: State) -> int:
    """The number of this step, from 1."""
    state["step"] = state.get("step", 0) + 1
    return int(state["step"])


def _rms(x: Tensor) -> Tensor:
    """Root mean square of each copy, shape [copies, 1, ...]."""
    dims = tuple(range(1, x.dim()))
    return x.pow(2).mean(dims, keepdim=True).sqrt() if dims else x.abs()


def _zeros(state: State, name: str, like: Tensor) -> Tensor:
    """The state of this name, zeros in the first step."""
    value: Tensor = state.setdefault(name, torch.zeros_like(like))
    return value


UPDATES: dict[str, Update] = {
    "SGD": _sgd,
    "Adam": _adam,
    "AdamW": _adamw,
    "RMSprop": _rmsprop,
    "Adagrad": _adagrad,
    "Lion": _lion,
    "Muon": _muon,
    "Adafactor": _adafactor,
}
