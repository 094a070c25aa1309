"""The modules of the support matrix: one small network, trained in every way that the matrix has."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from tests.helpers.lightning_classes import LightningModule

BATCH, BATCHES, FEATURES, CLASSES = 4, 4, 6, 3


class Samples(Dataset[tuple[Tensor, Tensor]]):
    """Points of three clusters. With two ranks each has half of them."""

    def __init__(self, batches: int = BATCHES) -> None:
        generator = torch.Generator().manual_seed(0)
        self.y = torch.randint(CLASSES, (batches * BATCH,), generator=generator)
        centres = 2 * torch.randn(CLASSES, FEATURES, generator=generator)
        self.x = centres[self.y] + torch.randn(len(self.y), FEATURES, generator=generator)

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.x[index], self.y[index]


class Unsized(IterableDataset[tuple[Tensor, Tensor]]):
    """The same points, whose number is not known before they have been read."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        samples = Samples()
        return (samples[i] for i in range(len(samples)))


def batches(number: int = BATCHES, **options: Any) -> DataLoader[tuple[Tensor, Tensor]]:
    return DataLoader(Samples(number), BATCH, **{"shuffle": True, **options})


def stream() -> Iterator[Any]:
    """Batches that can be read once, enough for every run."""
    yield from list(batches(200, shuffle=False))


class Net(LightningModule):
    """With dropout and BatchNorm, and in shards where the strategy has a device mesh."""

    def __init__(self, optimizer: str = "SGD", scheduler: str | None = None, lr: float = 0.01, **options: Any) -> None:
        super().__init__()
        self.optimizer, self.scheduler, self.lr, self.options = optimizer, scheduler, lr, options
        self.backbone = nn.Sequential(nn.Linear(FEATURES, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.1))
        self.head: nn.Module = nn.Linear(8, CLASSES)

    def configure_model(self) -> None:
        if self.device_mesh is not None:
            from torch.distributed.fsdp import fully_shard

            for module in self.children():
                fully_shard(module, mesh=self.device_mesh["data_parallel"])

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.backbone(x))
        return out

    def loss(self, batch: Any) -> Tensor:
        x, y = batch
        loss = nn.functional.cross_entropy(self(x), y)
        self.log("train_loss", loss)
        return loss

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return self.loss(batch)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", nn.functional.cross_entropy(self(batch[0]), batch[1]))

    def groups(self) -> list[Any]:
        """Of the optimizer. Muon takes matrices only, as its authors advise."""
        parameters = [each for each in self.parameters() if each.requires_grad]
        return [each for each in parameters if each.ndim == 2] if self.optimizer == "Muon" else parameters

    def configure_optimizers(self) -> Any:
        kind: type[torch.optim.Optimizer] = getattr(torch.optim, self.optimizer)
        optimizer = kind(self.groups(), **{"lr": self.lr, **self.options})
        schedulers: dict[str, Any] = {
            "step": lambda: {"scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 3), "interval": "step"},
            "epoch": lambda: {"scheduler": torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)},
            "plateau": lambda: {
                "scheduler": torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0),
                "monitor": "train_loss",
            },
        }
        if self.scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": schedulers[self.scheduler]()}


class TensorLR(Net):
    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), torch.tensor(self.lr), foreach=False)


class TwoGroups(Net):
    def groups(self) -> list[Any]:
        return [{"params": self.backbone.parameters(), "lr": 0.1 * self.lr}, {"params": self.head.parameters()}]


class AddsGroup(Net):
    """Unfreezes its backbone at the second epoch, in a group of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone[0].requires_grad_(False)

    def on_train_epoch_start(self) -> None:
        optimizer: Any = self.optimizers()
        if self.current_epoch > 0 and len(optimizer.param_groups) == 1:
            self.backbone[0].requires_grad_(True)
            optimizer.add_param_group({"params": list(self.backbone[0].parameters()), "lr": 0.1 * self.lr})


class Frozen(Net):
    def __init__(self) -> None:
        super().__init__()
        self.backbone[0].requires_grad_(False)


class Sparse(Net):
    """Its only parameters are an embedding with sparse gradients."""

    def __init__(self, optimizer: str = "SGD", **options: Any) -> None:
        super().__init__(optimizer, **options)
        self.backbone = nn.Sequential()
        self.head = nn.EmbeddingBag(CLASSES, CLASSES, sparse=True, mode="sum")

    def configure_model(self) -> None:
        """Nothing: FSDP2 does not shard sparse gradients."""

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head((x[:, :2] > 0).long())
        return out


class Complex(Net):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential()
        self.head = nn.Linear(FEATURES, CLASSES, dtype=torch.complex64)

    def forward(self, x: Tensor) -> Tensor:
        return torch.view_as_real(self.head(x.to(next(self.head.parameters()).dtype))).sum(-1)


class Compiled(Net):
    """Runs a compiled forward. The backend without a C compiler is enough: what matters here are the guards."""

    def __init__(self) -> None:
        super().__init__()
        self.run = torch.compile(super().forward, backend="aot_eager")

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.run(x)
        return out


class NoneLosses(Net):
    """Skips every third batch."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return None if batch_idx % 3 == 1 else self.loss(batch)


class Unused(Net):
    """One of two heads a batch, so that the parameters of the other have no gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Linear(8, CLASSES)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        head = self.head if batch_idx % 2 == 0 else self.other
        return nn.functional.cross_entropy(head(self.backbone(batch[0])), batch[1])


class Manual(Net):
    """Manual optimization; with a closure or not, and returning its loss or not."""

    def __init__(self, closure: bool = False, returns: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.automatic_optimization = False
        self.closure, self.returns = closure, returns

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        losses = []  # a GradScaler does not return what a closure returns

        def backward(optimizer: Any) -> Tensor:
            losses.append(self.loss(batch))
            optimizer.zero_grad()
            self.manual_backward(losses[-1])
            return losses[-1]

        optimizers = self.optimizers()
        for optimizer in optimizers if isinstance(optimizers, list) else [optimizers]:
            if self.closure:
                optimizer.step(closure=partial(backward, optimizer))
            else:
                backward(optimizer)
                optimizer.step()
        return losses[-1] if self.returns else None


class TwoOptimizers(Manual):
    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.backbone.parameters(), self.lr), torch.optim.Adam(self.head.parameters(), self.lr)


class FirstOf(Net):
    """For data that is a list of batches, of which some may be missing."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return self.loss(next(each for each in batch if each is not None))
