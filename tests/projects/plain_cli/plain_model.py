"""A model and its data, as a project has them that knows nothing of learning rates."""

from __future__ import annotations

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset


class Net(LightningModule):
    """A small classifier."""

    def __init__(self, lr: float = 0.001, hidden: int = 8) -> None:
        super().__init__()
        self.lr = lr
        self.layers = nn.Sequential(nn.Linear(6, hidden), nn.ReLU(), nn.Linear(hidden, 3))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        return nn.functional.cross_entropy(self.layers(x), y)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), self.lr)


class Broken(Net):
    """Its training step fails."""

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        raise RuntimeError("the user's own error")


class Data(LightningDataModule):
    """Three Gaussian clusters."""

    def __init__(self, batch_size: int = 8) -> None:
        super().__init__()
        self.batch_size = batch_size

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        generator = torch.Generator().manual_seed(0)
        y = torch.randint(3, (320,), generator=generator)
        x = 2 * torch.randn(3, 6, generator=generator)[y] + torch.randn(320, 6, generator=generator)
        return DataLoader(TensorDataset(x, y), self.batch_size)
