"""A small classifier, data for it, and a quiet Trainer."""

from __future__ import annotations

from typing import Any

import torch
import torchmetrics
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from tests.helpers.chosen_device import ACCELERATOR
from tests.helpers.equal_lrs import EqualLRs
from tests.helpers.lightning_classes import LightningModule, Trainer

CLASSES = 3


def loader(batches: int = 20, batch_size: int = 8, seed: int = 0, **kwargs: Any) -> DataLoader[tuple[Tensor, ...]]:
    """Gaussian clusters, one for each class: easy to learn, with noise from batch to batch."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(CLASSES, (batches * batch_size,), generator=generator)
    centres = 2 * torch.randn(CLASSES, 6, generator=torch.Generator().manual_seed(99))
    x = centres[y] + torch.randn(len(y), 6, generator=generator)
    return DataLoader(TensorDataset(x, y), batch_size, **kwargs)


class Classifier(LightningModule):
    """With dropout, BatchNorm and a metric; with two parameter groups if ``backbone_ratio`` is given.

    It logs nothing while training, which would take a third of the time of a step: see `LogsLoss`.
    """

    def __init__(
        self,
        lr: float = 0.01,
        optimizer: str = "SGD",
        momentum: float = 0.9,
        backbone_ratio: float | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.backbone = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1))
        self.head = nn.Linear(16, CLASSES)
        self.accuracy = torchmetrics.classification.MulticlassAccuracy(CLASSES, average="micro")
        self.losses: list[float] = []

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        loss = nn.functional.cross_entropy(self.head(self.backbone(x)), y)
        self.losses.append(loss.item())
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        x, y = batch
        self.accuracy(self.head(self.backbone(x)), y)
        self.log("val_acc", self.accuracy)

    def configure_optimizers(self) -> Any:
        hparams = self.hparams
        groups: list[dict[str, Any]] = [{"params": list(self.parameters())}]
        if hparams["backbone_ratio"] is not None:
            groups = [
                {"params": list(self.backbone.parameters()), "lr": hparams["lr"] * hparams["backbone_ratio"]},
                {"params": list(self.head.parameters())},
            ]
        if hparams["optimizer"] == "SGD":
            return torch.optim.SGD(groups, hparams["lr"], hparams["momentum"])
        optimizer: type[torch.optim.Optimizer] = getattr(torch.optim, hparams["optimizer"])
        return optimizer(groups, hparams["lr"])


class LogsLoss(Classifier):
    """Logs the loss of each step as ``train_loss``."""

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        self.log("train_loss", loss)
        return loss


def quiet_trainer(**kwargs: Any) -> Trainer:
    """A Trainer that writes and shows nothing, unless ``kwargs`` say otherwise. With several ranks it compares them."""
    defaults: dict[str, Any] = {
        "accelerator": ACCELERATOR,
        "devices": 1,
        "max_epochs": 2,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    options = {**defaults, **kwargs}
    if options["devices"] != 1:
        options["callbacks"] = [*options.get("callbacks", []), EqualLRs()]
    return Trainer(**options)


class ManualWithTwoOptimizers(Classifier):
    """Steps an optimizer of the backbone and one of the head in manual optimization."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        self.manual_backward(loss)
        for optimizer in self.optimizers():  # type: ignore[union-attr]
            optimizer.step()
            optimizer.zero_grad()
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.backbone.parameters(), 0.1), torch.optim.Adam(self.head.parameters(), 0.01)
