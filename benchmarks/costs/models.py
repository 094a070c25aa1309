"""The models whose training steps are timed."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

Schedulers = Callable[[torch.optim.Optimizer], Any]


class Model(Protocol):
    """What is trained."""

    @property
    def name(self) -> str:
        """The name in tables."""

    def module(self, schedulers: Schedulers | None = None) -> LightningModule:
        """A new module, with torch's scheduler or without."""

    def batch(self) -> Any:
        """The batch that every step trains on."""


class LinearMaps(NamedTuple):
    """Linear maps, one after the other.

    Attributes:
        name: in tables.
        layers: number of maps, each with a parameter group if there is more than one group.
        width: inputs and outputs of each.
        groups: parameter groups.
    """

    name: str
    layers: int
    width: int
    groups: int

    def module(self, schedulers: Schedulers | None = None) -> LightningModule:
        return Linears(self, schedulers)

    def batch(self) -> Tensor:
        return torch.randn(1, self.width)


class ImageClassifier(NamedTuple):
    """A network that classifies images.

    Attributes:
        name: in tables.
        build: makes the network.
        pixels: width and height of an image.
        batch_size: images of a batch.
    """

    name: str
    build: Callable[[], nn.Module]
    pixels: int
    batch_size: int

    def module(self, schedulers: Schedulers | None = None) -> Classifier:
        return Classifier(self.build(), schedulers)

    def batch(self) -> tuple[Tensor, Tensor]:
        return self.images(self.batch_size)

    def images(self, count: int) -> tuple[Tensor, Tensor]:
        """Images and their classes. Both are noise, since only time is measured."""
        return torch.randn(count, 1, self.pixels, self.pixels), torch.randint(10, (count,))


class Linears(LightningModule):
    """Linear layers trained by SGD, with a scheduler or without."""

    def __init__(self, maps: LinearMaps, schedulers: Schedulers | None = None) -> None:
        super().__init__()
        self.groups, self.schedulers = maps.groups, schedulers
        self.net = nn.Sequential(*(nn.Linear(maps.width, maps.width) for _ in range(maps.layers)))

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.net(batch).pow(2).mean()  # type: ignore[no-any-return]

    def configure_optimizers(self) -> Any:
        groups: Any = [{"params": layer.parameters()} for layer in self.net.children()]
        optimizer = torch.optim.SGD(self.parameters() if self.groups == 1 else groups, 1e-3)
        if self.schedulers is None:
            return optimizer
        return [optimizer], [{"scheduler": self.schedulers(optimizer), "interval": "step"}]


class Classifier(LightningModule):
    """A network for images, trained by SGD with momentum. Counts its steps."""

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


def _tiny_cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(512, 10),
    )


def _small_cnn() -> nn.Module:
    """The network of PyTorch's MNIST example, which trains it with another optimizer."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
        nn.Flatten(),
        nn.Linear(9216, 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, 10),
    )


def _large_mlp() -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten(), nn.Linear(64, 3500), nn.ReLU()]
    layers += [nn.Linear(3500, 3500), nn.ReLU(), nn.Linear(3500, 3500), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(3500, 10))


SMALL = LinearMaps("10 thousand parameters", 2, 70, 1)
MANY_GROUPS = LinearMaps("10 thousand parameters, 50 groups", 50, 14, 50)
MIDDLE = LinearMaps("1 million parameters, 10 groups", 10, 316, 10)
LARGE = LinearMaps("100 million parameters", 10, 3162, 1)
TINY_CNN = ImageClassifier("tiny CNN", _tiny_cnn, pixels=8, batch_size=32)
SMALL_CNN = ImageClassifier("small CNN", _small_cnn, pixels=28, batch_size=64)
LARGE_MLP = ImageClassifier("perceptron of 25 million parameters", _large_mlp, pixels=8, batch_size=32)
