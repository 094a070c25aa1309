"""Models and callbacks for tests on a CUDA device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import Optimizer

from tests.helpers.lightning_classes import Callback, LightningModule, Trainer
from tests.helpers.tiny_models import Classifier

NEEDS_CUDA = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.filterwarnings("ignore:Attribute 'make' removed from hparams"),  # of `ClassifierWithOptimizer`
]


class ClassifierWithOptimizer(Classifier):
    """Takes its optimizer from a function. Its training step does not wait for the device."""

    def __init__(self, make: Any) -> None:
        super().__init__()
        self.make = make

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return torch.nn.functional.cross_entropy(self.head(self.backbone(batch[0])), batch[1])

    def configure_optimizers(self) -> Any:
        return self.make(self.parameters())


class ForbidWaiting(Callback):
    """From the end of the backward pass, waiting for the device is an error."""

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        if trainer.global_step > 1:  # the length of the first step is read right after it
            torch.cuda.set_sync_debug_mode("error")


class AllowWaiting(Callback):
    """From the end of the batch, waiting is allowed again. Counts the steps in which it was an error."""

    def __init__(self) -> None:
        self.steps = 0

    def on_train_batch_end(self, *args: Any) -> None:
        self.steps += torch.cuda.get_sync_debug_mode() > 0
        torch.cuda.set_sync_debug_mode("default")


@pytest.fixture
def waiting_is_allowed_again() -> Iterator[None]:
    yield
    torch.cuda.set_sync_debug_mode("default")
