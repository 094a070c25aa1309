"""Short runs with `LRRangeTest` or `LRSearch`, and what they found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from lightning_lr import LRRangeTest, LRSearch, SearchResult
from tests.helpers.lightning_classes import Callback, LightningModule, Trainer, seed_everything
from tests.helpers.tiny_models import Classifier, loader, quiet_trainer

SHORT_SEARCH: dict[str, Any] = {"min_lr": 1e-3, "max_lr": 1.0, "budget": 800}


def fit(model: LightningModule, *callbacks: Callback, data: Any = None, **kwargs: Any) -> Trainer:
    ckpt_path = kwargs.pop("ckpt_path", None)
    trainer = quiet_trainer(callbacks=list(callbacks), **kwargs)
    seed_everything(3, verbose=False)
    trainer.fit(model, loader(shuffle=True) if data is None else data, loader(4, seed=1), ckpt_path=ckpt_path)
    return trainer


def found(search: LRSearch | LRRangeTest) -> SearchResult:
    """The result of a search, which must be there."""
    result = search.result if isinstance(search, LRSearch) else search.result and search.result.search
    assert isinstance(result, SearchResult)
    return result


def lrs(trainer: Trainer) -> list[float]:
    """The learning rate of each parameter group."""
    return [group["lr"] for optimizer in trainer.optimizers for group in optimizer.param_groups]


def stream(batches: int = 60) -> Iterator[Any]:
    """Batches that can be read once."""
    yield from list(loader(batches))


class UsedLRs(Callback):
    """Keeps the learning rate of each training batch."""

    def __init__(self) -> None:
        self.lrs: list[float] = []

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        self.lrs.append(lrs(trainer)[0])


class LossIsBatchNumber(Classifier):
    """The loss is 100 + the number of the batch. Nothing is learned, so the recorded losses are known."""

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        zero = sum(parameter.sum() for parameter in self.parameters()) * 0.0
        return torch.tensor(100.0 + batch_idx) + zero
