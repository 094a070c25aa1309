"""A small classifier whose training step changes every kind of state, and data for it."""

from __future__ import annotations

import random
from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer, lr_scheduler
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from tests.helpers.lightning_classes import LightningModule


@dataclass
class Nested:
    level: int = 0
    inner: dict[str, Any] = field(default_factory=lambda: {"seen": [], "ratio": 0.5})


class Slotted:
    __slots__ = ("level",)

    def __init__(self) -> None:
        self.level = 0


class StatefulClassifier(LightningModule):
    """Dropout, BatchNorm, two parameter groups, metrics, attributes and random generators of many kinds."""

    kept: Tensor
    fleeting: Tensor

    def __init__(self, optimizer: str = "sgd", scheduler: str | None = None) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.optimizer, self.scheduler = optimizer, scheduler
        self.net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.ReLU(), nn.Linear(8, 3))
        self.frozen = nn.Linear(8, 8).requires_grad_(False)
        self.register_buffer("kept", torch.zeros(3))
        self.register_buffer("fleeting", torch.zeros(3), persistent=False)
        self.accuracy, self.mean_loss = MulticlassAccuracy(3), MeanMetric(nan_strategy="disable")
        self.val_accuracy = MulticlassAccuracy(3)
        self.count, self.trail, self.recent = 0, [0.0], deque([1, 2], maxlen=3)
        self.table: dict[str, Any] = {"a": 1, "deep": {"b": [1, 2], "t": torch.zeros(2)}}
        self.members, self.pair = {1, 2}, ([1], torch.ones(2))
        self.nested, self.slotted = Nested(), Slotted()
        self.array, self.tensor = np.zeros(3), torch.zeros(2)
        self.octets, self.numbers = bytearray(2), array("d", [0.0])
        self.objects = np.array([[0], None], dtype=object)
        self.dice = (random.Random(1), np.random.default_rng(2), torch.Generator().manual_seed(3))
        self.late: object = None

    def loss(self, batch: Any) -> tuple[Tensor, Tensor, Tensor]:
        x, y = batch
        logits = self.net(x + 0.01 * torch.randn_like(x) * self.dice[0].random() * random.random())
        return nn.functional.cross_entropy(logits, y), logits, y

    def disturb(self) -> None:
        draw = torch.rand(2, generator=self.dice[2])
        noise = float(np.random.rand()) + float(self.dice[1].random())  # noqa: NPY002
        self.count += 1
        self.trail.append(noise)
        self.recent.append(self.count)
        self.table["a"] = self.count
        self.table["deep"]["b"].insert(0, self.count)
        self.table["deep"]["t"] += draw
        self.table[f"new{self.count}"] = draw
        self.members ^= {self.count}
        self.pair[0].append(self.count)
        self.pair[1].mul_(0.9)
        self.nested.level += 1
        self.nested.inner["seen"].append(draw)
        self.nested.inner["ratio"] *= 0.5
        self.slotted.level += 1
        self.array += noise
        self.tensor = self.tensor + draw
        self.octets[0] = self.count % 256
        self.octets.append(1)
        self.numbers[0] += noise
        self.numbers.append(noise)
        self.objects[0].append(self.count)
        self.objects[1] = self.count
        self.kept.add_(draw[0])
        self.fleeting.add_(draw[1])
        self.late = [self.late, 1] if self.count % 3 else None
        self.frozen.requires_grad_(self.count % 2 == 1)
        self.frozen.train(self.count % 2 == 0)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.disturb()
        loss, logits, y = self.loss(batch)
        self.accuracy(logits.nan_to_num(), y)
        self.mean_loss(loss.detach())
        self.log("loss", loss)
        self.log("acc", self.accuracy, on_step=True, on_epoch=True)
        self.log("mean_loss", self.mean_loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        loss, logits, y = self.loss(batch)
        self.val_accuracy(logits.nan_to_num(), y)
        self.log("val_loss", loss.nan_to_num(1e6).clamp(max=1e6), prog_bar=True, add_dataloader_idx=True)
        self.log("val_acc", self.val_accuracy)

    def configure_optimizers(self) -> Any:
        groups: list[dict[str, Any]] = [
            {"params": [*self.net[0].parameters()]},
            {"params": [*self.net[1:].parameters()], "lr": 0.03},
        ]
        optimizers: dict[str, Callable[[], Optimizer]] = {
            "sgd": lambda: torch.optim.SGD(groups, lr=0.1),
            "momentum": lambda: torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=True),
            "adam": lambda: torch.optim.Adam(groups, lr=0.01, amsgrad=True),
            "adamw, tensor lr": lambda: torch.optim.AdamW(
                [{**group, "lr": torch.tensor(0.01 * i)} for i, group in enumerate(groups, start=1)], foreach=False
            ),
            "fused": lambda: torch.optim.AdamW(groups, lr=0.01, fused=True),
            "lbfgs": lambda: torch.optim.LBFGS(self.net.parameters(), lr=0.1, max_iter=3, history_size=3),
        }
        optimizer = optimizers[self.optimizer]()
        schedulers: dict[str, Callable[[], dict[str, Any]]] = {
            "step": lambda: {"scheduler": lr_scheduler.StepLR(optimizer, 2, 0.9), "interval": "step"},
            "one cycle": lambda: {
                "scheduler": lr_scheduler.OneCycleLR(optimizer, [0.1, 0.2], total_steps=40),
                "interval": "step",
            },
            "epoch": lambda: {"scheduler": lr_scheduler.ExponentialLR(optimizer, 0.8)},
            "sequential": lambda: {
                "scheduler": lr_scheduler.SequentialLR(
                    optimizer,
                    [lr_scheduler.LinearLR(optimizer, 0.1, total_iters=3), lr_scheduler.StepLR(optimizer, 2)],
                    [3],
                ),
                "interval": "step",
            },
            "plateau": lambda: {
                "scheduler": lr_scheduler.ReduceLROnPlateau(optimizer, patience=0),
                "monitor": "mean_loss",
            },
            "plateau, step": lambda: {
                "scheduler": lr_scheduler.ReduceLROnPlateau(optimizer, patience=0),
                "monitor": "loss",
                "interval": "step",
            },
        }
        if self.scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": schedulers[self.scheduler]()}


def dataset(n: int = 24, seed: int = 0) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 4, generator=generator)
    return TensorDataset(x, (x @ torch.randn(4, 3, generator=generator)).argmax(1))


def loader(n: int = 24, **options: Any) -> DataLoader[Any]:
    return DataLoader(dataset(n), **{"batch_size": 4, "shuffle": True, **options})


def val_loader(n: int = 8, **options: Any) -> DataLoader[Any]:
    return loader(n, **{"shuffle": False, **options})
