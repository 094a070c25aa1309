"""The models whose training steps are timed."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

Schedulers = Callable[[torch.optim.Optimizer], Any]


class Size(NamedTuple):
    """How large a model is.

    Attributes:
        name: in tables.
        layers: of this many linear maps, each with a parameter group if there is more than one group.
        width: inputs and outputs of each.
        groups: parameter groups.
    """

    name: str
    layers: int
    width: int
    groups: int

    def build(self) -> nn.Module:
        return nn.Sequential(*(nn.Linear(self.width, self.width) for _ in range(self.layers)))

    def batch(self) -> Tensor:
        return torch.randn(1, self.width)


SMALL = Size("10 thousand parameters", 2, 70, 1)
MANY_GROUPS = Size("10 thousand parameters, 50 groups", 50, 14, 50)
MIDDLE = Size("1 million parameters, 10 groups", 10, 316, 10)
LARGE = Size("100 million parameters", 10, 3162, 1)


class Linears(LightningModule):
    """Linear layers trained by SGD, with a scheduler or without."""

    def __init__(self, size: Size, schedulers: Schedulers | None = None) -> None:
        super().__init__()
        self.size, self.schedulers = size, schedulers
        self.net = size.build()

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.net(batch).pow(2).mean()  # type: ignore[no-any-return]

    def configure_optimizers(self) -> Any:
        groups: Any = [{"params": layer.parameters()} for layer in self.net.children()]
        optimizer = torch.optim.SGD(self.parameters() if self.size.groups == 1 else groups, 1e-3)
        if self.schedulers is None:
            return optimizer
        return [optimizer], [{"scheduler": self.schedulers(optimizer), "interval": "step"}]


class Classifier(LightningModule):
    """A network for images of 8 x 8 pixels, trained by SGD with momentum. Counts its steps."""

    def __init__(self, net: nn.Module, schedulers: Schedulers | None = None) -> None:
        super().__init__()
        self.net, self.schedulers = net, schedulers
        self.lr = 1e-3
        self.steps = itertools.count()  # an iterator, which a rehearsal does not restore

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), self.lr, momentum=0.9)
        optimizer.register_step_post_hook(self.count_step)
        if self.schedulers is None:
            return optimizer
        return [optimizer], [{"scheduler": self.schedulers(optimizer), "interval": "step"}]

    def count_step(self, *_: object) -> None:
        next(self.steps)


def small_cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(512, 10),
    )


def large_mlp() -> nn.Module:
    """25 million parameters."""
    layers: list[nn.Module] = [nn.Flatten(), nn.Linear(64, 3500), nn.ReLU()]
    layers += [nn.Linear(3500, 3500), nn.ReLU(), nn.Linear(3500, 3500), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(3500, 10))
