"""Workloads of tables and graphs."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from benchmarks.suite.setting import Batch, Setting, mlp, squared_error
from benchmarks.workloads.data import split
from benchmarks.workloads.optimizers import NADAMW

_FIELDS, _VALUES, _NUMBERS = 6, 300, 4  # of a click: categories, values of each, numbers
_NODES, _KINDS = 10, 5  # of a molecule


class _ClickNet(nn.Module):
    """An embedding for each field, their products with each other, and a perceptron."""

    offsets: Tensor

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.embedding = nn.Embedding(_FIELDS * _VALUES, width)
        self.top = mlp(_FIELDS * width + _FIELDS * _FIELDS + _NUMBERS, 64, 32, 1)
        self.register_buffer("offsets", torch.arange(_FIELDS) * _VALUES)

    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        fields = self.embedding(categories + self.offsets)
        products = fields @ fields.transpose(1, 2)
        return self.top(torch.cat([fields.flatten(1), products.flatten(1), numbers], 1)).squeeze(1)  # type: ignore[no-any-return]


def clicks() -> Setting:
    """Whether a user clicks, from categories of which few are common, as in DLRM: binary cross-entropy."""
    generator = torch.Generator().manual_seed(11)
    rows = 68_000
    frequencies = 1 / torch.arange(1.0, _VALUES + 1)
    categories = torch.multinomial(frequencies.expand(_FIELDS, -1), rows, True, generator=generator).T
    numbers = torch.randn(rows, _NUMBERS, generator=generator)
    tastes = torch.randn(_FIELDS, _VALUES, 3, generator=generator)
    chosen = tastes[torch.arange(_FIELDS), categories]  # [rows, fields, 3]
    logits = (chosen[:, 0] * chosen[:, 1]).sum(1) + chosen[:, 2:].sum((1, 2)) / 3 + numbers[:, 0] * numbers[:, 1] - 1
    labels = (torch.rand(rows, generator=generator) < logits.sigmoid()).float()
    batches, validation = split((categories, numbers, labels), 4000, batch_size=64)

    def loss(module: nn.Module, batch: Batch) -> Tensor:
        return F.binary_cross_entropy_with_logits(module(batch[0], batch[1]), batch[2])

    return Setting("clicks", "nadamw", _ClickNet, batches, loss, NADAMW, validation)


class _GraphNet(nn.Module):
    """Two rounds of messages between neighbours, and the sum over the nodes."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.kinds = nn.Embedding(_KINDS, width)
        self.rounds = nn.ModuleList(mlp(2 * width, width, width) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.head = mlp(width, width, 1)

    def forward(self, graph: Tensor) -> Tensor:
        kinds, edges = graph[:, 0].long(), graph[:, 1:]
        x = self.kinds(kinds)
        for update, norm in zip(self.rounds, self.norms, strict=True):
            x = norm(x + update(torch.cat([x, edges @ x], 2)))
        return self.head(x.sum(1)).squeeze(1)  # type: ignore[no-any-return]


def molecules() -> Setting:
    """A number for each graph of ten atoms, which depends on neighbours and paths of two: squared error."""
    generator = torch.Generator().manual_seed(12)
    rows = 12_600
    kinds = torch.randint(0, _KINDS, (rows, _NODES), generator=generator)
    upper = (torch.rand(rows, _NODES, _NODES, generator=generator) < 0.25).float().triu(1)
    edges = upper + upper.transpose(1, 2)
    charges = torch.randn(_KINDS, generator=generator)[kinds]
    near = (edges @ charges[..., None]).squeeze(2)
    far = (edges @ edges @ charges[..., None]).squeeze(2)
    energy = (charges * near).sum(1) + torch.tanh(far).sum(1)
    energy = (energy - energy.mean()) / energy.std()
    graphs = torch.cat([kinds[:, None].float(), edges], 1)  # [rows, 1 + nodes, nodes]
    batches, validation = split((graphs, energy), 600, batch_size=16)
    return Setting("molecules", "nadamw", _GraphNet, batches, squared_error, NADAMW, validation)
