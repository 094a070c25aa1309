"""Five small tasks of different kinds. With the same seed, every method gets the same weights and batches.

Batches are drawn before training and held in memory, so that the time of a step is that of the model.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader

Batch = tuple[Tensor, Tensor]
OPTIMIZERS: dict[str, Callable[[Any, float], torch.optim.Optimizer]] = {
    "sgd": lambda parameters, lr: torch.optim.SGD(parameters, lr),
    "momentum": lambda parameters, lr: torch.optim.SGD(parameters, lr, momentum=0.9),
    "adam": lambda parameters, lr: torch.optim.Adam(parameters, lr),
    "adamw": lambda parameters, lr: torch.optim.AdamW(parameters, lr),
}


@dataclass(frozen=True)
class Task:
    """A model, its data and its loss.

    Attributes:
        build: makes the model, with weights from torch's random state.
        train: inputs and targets of the training data.
        val: inputs and targets of the validation data.
        loss: function of outputs and targets.
        batch_size: examples of a step.
        is_classification: whether accuracy is defined.
    """

    build: Callable[[], nn.Module]
    train: Batch
    val: Batch
    loss: Callable[[Tensor, Tensor], Tensor]
    batch_size: int = 32
    is_classification: bool = True

    def batches(self, steps: int, seed: int) -> list[Batch]:
        """One batch for each step, from training data that is shuffled for each epoch."""
        x, y = self.train
        generator = torch.Generator().manual_seed(seed)
        drawn: list[Batch] = []
        while len(drawn) < steps:
            order = torch.randperm(len(x), generator=generator)
            drawn += [
                (x[rows], y[rows]) for rows in torch.split(order, self.batch_size) if len(rows) == self.batch_size
            ]
        return drawn[:steps]


class TaskModule(LightningModule):
    """Trains a task."""

    def __init__(self, task: Task, make_optimizer: Callable[[Any, float], torch.optim.Optimizer], lr: float) -> None:
        super().__init__()
        self.net, self.task, self.make_optimizer, self.lr = task.build(), task, make_optimizer, lr

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)  # type: ignore[no-any-return]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.task.loss(self(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.make_optimizer(self.parameters(), self.lr)


def train(
    task: Task,
    optimizer: str,
    lr: float,
    steps: int,
    seed: int = 0,
    callbacks: Sequence[Callback] = (),
    **trainer: Any,
) -> TaskModule:
    """Train one epoch of ``steps`` batches with a real Trainer. The seed fixes the weights and the batches."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(1)  # a second thread makes these small models slower
    torch.manual_seed(seed)
    module = TaskModule(task, OPTIMIZERS[optimizer], lr)
    quiet: dict[str, Any] = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    batches: Any = task.batches(steps, seed)  # a list is a dataset
    data = DataLoader(batches, batch_size=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Trainer(accelerator="cpu", max_epochs=1, callbacks=list(callbacks), **{**quiet, **trainer}).fit(module, data)
    return module.eval()


@torch.no_grad()
def measure(task: Task, net: nn.Module, data: Batch | None = None) -> tuple[float, float]:
    """Loss and accuracy on ``data``, or on the validation data if None."""
    x, y = task.val if data is None else data
    outputs = net(x)
    accuracy = (outputs.argmax(-1) == y).float().mean().item() if task.is_classification else float("nan")
    return task.loss(outputs, y).item(), accuracy


@cache
def digits() -> Task:
    """Classification of handwritten digits by a convolutional network."""
    bunch = load_digits()
    images, labels = torch.tensor(bunch.images, dtype=torch.float32).unsqueeze(1) / 16, torch.tensor(bunch.target)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    train_rows, val_rows = order[:1437], order[1437:]

    def build() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(128, 10),
        )

    return Task(build, (images[train_rows], labels[train_rows]), (images[val_rows], labels[val_rows]), _entropy)


@cache
def characters() -> Task:
    """Prediction of the next character of English text (Python's manual) from the 12 before it."""
    from pydoc_data.topics import topics

    text = "\n".join(topics[name] for name in sorted(topics)).lower()
    alphabet = "abcdefghijklmnopqrstuvwxyz0123456789 \n.,:;'\"()[]{}=+-*/_<>`"
    codes = torch.tensor([alphabet.index(each) for each in text if each in alphabet])
    windows = codes.unfold(0, 13, 1)
    order = torch.randperm(len(windows), generator=torch.Generator().manual_seed(0))
    train_rows, val_rows = order[:40_000], order[-4_000:]

    def build() -> nn.Module:
        return nn.Sequential(
            nn.Embedding(len(alphabet), 16),
            nn.Flatten(),
            nn.Linear(12 * 16, 128),
            nn.ReLU(),
            nn.Linear(128, len(alphabet)),
        )

    data = [(windows[rows, :12], windows[rows, 12]) for rows in (train_rows, val_rows)]
    return Task(build, data[0], data[1], _entropy, batch_size=64)


@cache
def least_squares() -> Task:
    """Noisy linear regression. The largest curvature is 1000 times the smallest."""
    generator = torch.Generator().manual_seed(0)
    scales = torch.logspace(0, -1.5, 50)
    x = torch.randn(5000, 50, generator=generator) * scales
    y = x @ (torch.randn(50, 1, generator=generator) / scales[:, None]) + 0.5 * torch.randn(
        5000, 1, generator=generator
    )
    data = [(x[:4000], y[:4000]), (x[4000:], y[4000:])]
    return Task(lambda: nn.Linear(50, 1), data[0], data[1], nn.functional.mse_loss, 16, is_classification=False)


@cache
def autoencoder() -> Task:
    """Reconstruction of handwritten digits through a bottleneck of eight numbers."""
    pixels = digits().train[0].flatten(1), digits().val[0].flatten(1)

    def build() -> nn.Module:
        layers = [nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 64), nn.Tanh()]
        return nn.Sequential(*layers, nn.Linear(64, 64))

    return Task(
        build, (pixels[0],) * 2, (pixels[1],) * 2, nn.functional.mse_loss, batch_size=32, is_classification=False
    )


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(nn.functional.gelu(self.up(self.norm(x))))  # type: ignore[no-any-return]


@cache
def residual() -> Task:
    """Regression of a smooth function of eight numbers by a residual network with LayerNorm."""
    x = torch.randn(6000, 8, generator=torch.Generator().manual_seed(0))
    y = torch.sin(2 * x[:, :4] * x[:, 4:]).sum(1, keepdim=True) + x[:, :1]
    data = [(x[:5000], y[:5000]), (x[5000:], y[5000:])]

    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(8, 48), _Residual(48), _Residual(48), nn.LayerNorm(48), nn.Linear(48, 1))

    return Task(build, data[0], data[1], nn.functional.mse_loss, batch_size=32, is_classification=False)


def _entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.cross_entropy(outputs, targets)


TASKS: dict[str, Callable[[], Task]] = {
    "digits": digits,
    "characters": characters,
    "least_squares": least_squares,
    "autoencoder": autoencoder,
    "residual": residual,
}
