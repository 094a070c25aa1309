"""`Setting`: a model, its data, its loss and its optimizer, and the functions that settings are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.optim import Optimizer

Batch = tuple[Tensor, ...]
Draw = Callable[[torch.Generator], Batch]
Loss = Callable[[Any, Batch], Tensor]  # of a module and a batch
MakeOptimizers = Callable[[nn.Module, float], list[Optimizer]]


@dataclass(frozen=True, eq=False)
class Setting:
    """A training that a learning rate is wanted for.

    Attributes:
        name: name in tables, and key in the file of recorded losses.
        optimizer: name of the optimizer in tables.
        build: makes the module, with weights from torch's random state.
        batches: makes a number of batches from a seed.
        loss: training loss of a module on a batch.
        optimizers: makes the optimizers for a module and a learning rate.
        validation: batch that is not trained on, if there is one.
        clip: largest norm of the gradient, None for no clipping.
    """

    name: str
    optimizer: str
    build: Callable[[], nn.Module]
    batches: Callable[[int, int], Sequence[Batch]]
    loss: Loss
    optimizers: MakeOptimizers
    validation: Batch | None = None
    clip: float | None = None

    @torch.no_grad()
    def validation_loss(self, module: nn.Module) -> float:
        """The loss on the validation batch in evaluation mode, NaN if there is no such batch."""
        if self.validation is None:
            return float("nan")
        module.eval()
        loss = self.loss(module, self.validation).item()
        module.train()
        return loss


def drawn(draw: Draw) -> Callable[[int, int], list[Batch]]:
    """Batches that are drawn one after the other from one generator."""

    def batches(count: int, seed: int) -> list[Batch]:
        generator = torch.Generator().manual_seed(7000 + seed)
        return [draw(generator) for _ in range(count)]

    return batches


def rows_of(*data: Tensor, batch_size: int) -> Draw:
    """Draws the same random rows, with replacement, from each tensor."""

    def draw(generator: torch.Generator) -> Batch:
        rows = torch.randint(0, len(data[0]), (batch_size,), generator=generator)
        return tuple(each[rows] for each in data)

    return draw


def cross_entropy(module: nn.Module, batch: Batch) -> Tensor:
    """Of logits whose last dimension is the class."""
    logits = module(batch[0])
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), batch[1].reshape(-1))


def squared_error(module: nn.Module, batch: Batch) -> Tensor:
    return F.mse_loss(module(batch[0]), batch[1])


def mlp(
    *widths: int, activation: Callable[[], nn.Module] = nn.ReLU, dropout: float = 0.0, batch_norm: bool = False
) -> nn.Sequential:
    """Linear layers of these widths, with an activation between them."""
    layers: list[nn.Module] = []
    for index, (inputs, outputs) in enumerate(pairwise(widths)):
        layers.append(nn.Linear(inputs, outputs))
        if index < len(widths) - 2:
            layers += [nn.BatchNorm1d(outputs)] if batch_norm else []
            layers.append(activation())
            layers += [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*layers)
