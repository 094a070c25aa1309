"""The models and the data of `benchmarks.same_numbers`."""

from __future__ import annotations

import math
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, StepLR
from torch.utils.data import DataLoader, TensorDataset


class Net(LightningModule):
    """A classifier of Gaussian clusters, with dropout and BatchNorm."""

    def __init__(
        self,
        optimizer: str = "SGD",
        lr: float = 0.01,
        groups: bool = False,
        scheduler: str | None = None,
        noise: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__()
        self.lr = lr
        self.kind, self.groups, self.scheduler, self.noise, self.options = optimizer, groups, scheduler, noise, options
        self.backbone = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1))
        self.head = nn.Linear(16, 3)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        loss = nn.functional.cross_entropy(self.head(self.backbone(batch[0])), batch[1])
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("val_acc", (self.head(self.backbone(batch[0])).argmax(1) == batch[1]).float().mean())

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return clusters(256, 0, self.noise)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return clusters(64, 1, self.noise)

    def configure_optimizers(self) -> Any:
        parameters: list[Any] = [{"params": list(self.parameters())}]
        if self.groups:
            parameters = [
                {"params": list(self.backbone.parameters()), "lr": self.lr / 4, "name": "backbone"},
                {"params": list(self.head.parameters()), "name": "head"},
            ]
        optimizer = getattr(torch.optim, self.kind)(parameters, lr=self.lr, **self.options)
        if self.scheduler == "step":
            return [optimizer], [StepLR(optimizer, 1, 0.5)]
        if self.scheduler == "cosine":
            return [optimizer], [{"scheduler": CosineAnnealingLR(optimizer, 96), "interval": "step"}]
        return optimizer


class TwoOptimizers(Net):
    """Manual optimization, the second optimizer at every other batch."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        optimizers: Any = self.optimizers()
        first, second = optimizers
        loss = nn.functional.cross_entropy(self.head(self.backbone(batch[0])), batch[1])
        first.zero_grad()
        second.zero_grad()
        self.manual_backward(loss)
        first.step()
        if batch_idx % 2:
            second.step()
        return loss

    def configure_optimizers(self) -> Any:
        return [
            torch.optim.Adam(self.backbone.parameters(), 0.01),
            torch.optim.SGD(self.head.parameters(), 0.05, momentum=0.9),
        ]


class Diverges(Net):
    """Its loss is not finite at step 40, and from step 90 on its inputs are others, on which it has learned nothing."""

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        inputs, labels = batch
        if self.global_step == 40:
            inputs = inputs * math.nan
        return super().training_step([-inputs if self.global_step >= 90 else inputs, labels], batch_idx)


class Finetuned(Net):
    """Begins with its head alone, as ``BackboneFinetuning`` wants it."""

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD([p for p in self.parameters() if p.requires_grad], self.lr, momentum=0.9)


def clusters(number: int, seed: int, noise: float) -> DataLoader[tuple[Tensor, ...]]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (number,), generator=generator)
    centres = 2 * torch.randn(3, 6, generator=torch.Generator().manual_seed(99))
    inputs = centres[labels] + noise * torch.randn(number, 6, generator=generator)
    return DataLoader(TensorDataset(inputs, labels), 8, shuffle=seed == 0)
