"""A run with a rehearsal equals the run without one: loaders, samplers, datasets and streams."""

from __future__ import annotations

import multiprocessing
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, Sampler, WeightedRandomSampler
from torchmetrics import MeanMetric

from tests.helpers.lightning_classes import CombinedLoader, LightningDataModule
from tests.helpers.rehearsal_check import EXPECTED_WARNINGS, Run, assert_no_trace
from tests.helpers.stateful_model import StatefulClassifier, dataset, loader, val_loader

pytestmark = [
    *EXPECTED_WARNINGS,
    pytest.mark.filterwarnings("ignore:You requested to overfit"),
    pytest.mark.filterwarnings("ignore:Your `val_dataloader`'s sampler has shuffling enabled"),
    pytest.mark.filterwarnings("ignore:Your `IterableDataset` has `__len__` defined"),
    pytest.mark.filterwarnings("ignore:The `IterableDataset` .* has `__len__`"),
]

Sample = tuple[Tensor, ...]
SAMPLES = 200


class Augmented(Dataset[Sample]):
    """Uses global and private random generators, a counter and a cache."""

    def __init__(self) -> None:
        self.samples = dataset()
        self.random, self.generator = np.random.default_rng(0), torch.Generator().manual_seed(1)
        self.reads, self.cache = 0, dict[int, Tensor]()

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        self.reads += 1
        x, y = self.samples[index]
        self.cache.setdefault(index, x + torch.rand(4, generator=self.generator))
        return self.cache[index] * random.random() + float(self.random.random()) + 0.01 * self.reads, y


class Shuffling(Sampler[int]):
    """Shuffles its order in place, so the order of an epoch depends on the epoch before."""

    def __init__(self, n: int, kind: str) -> None:
        self.order: Any = {"list": list(range(n)), "array": np.arange(n), "tensor": torch.arange(n)}[kind]

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[int]:
        if isinstance(self.order, Tensor):
            self.order.copy_(self.order[torch.randperm(len(self.order))])
        else:
            random.shuffle(self.order)
        return iter(int(i) for i in self.order)


class Iterable(IterableDataset[Sample]):
    """Can be iterated again. Its order and an epoch counter carry over to the next epoch."""

    def __init__(self, n: int = 24) -> None:
        self.samples, self.order, self.epoch, self.random = dataset(n), list(range(n)), 0, random.Random(0)

    def __iter__(self) -> Iterator[Sample]:
        self.epoch += 1
        self.random.shuffle(self.order)
        for i in self.order:
            x, y = self.samples[i]
            yield x * self.random.random() + self.epoch, y


class SizedIterable(Iterable):
    def __len__(self) -> int:
        return 24


class Stream(IterableDataset[Sample]):
    """Can be read only once."""

    def __init__(self) -> None:
        self.samples, self.indices, self.random = dataset(SAMPLES), iter(range(SAMPLES)), random.Random(0)
        self.opened = 0

    def __iter__(self) -> Iterator[Sample]:
        self.opened += 1
        for i in self.indices:
            x, y = self.samples[i]
            yield x * self.random.random(), y


class Wrapped(IterableDataset[Sample]):
    def __init__(self) -> None:
        self.parts = [Stream()]

    def __iter__(self) -> Iterator[Sample]:
        for part in self.parts:
            yield from part


class Iterated(IterableDataset[Sample]):
    """Is its own iterator."""

    def __init__(self) -> None:
        self.samples, self.position = dataset(SAMPLES), 0

    def __iter__(self) -> Iterated:
        return self

    def __next__(self) -> Sample:
        if self.position == SAMPLES:
            raise StopIteration
        self.position += 1
        x, y = self.samples[self.position - 1]
        return x, y


def batches(n: int = SAMPLES // 4) -> Iterator[Sample]:
    x, y = dataset(4 * n).tensors
    return zip(torch.split(x, 4), torch.split(y, 4), strict=True)


class Batches:
    """Neither a DataLoader nor an iterator."""

    def __iter__(self) -> Iterator[Sample]:
        return batches(6)


class Joined(StatefulClassifier):
    """Trains on the batches of several loaders together."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        parts = [part for part in (batch.values() if isinstance(batch, dict) else batch) if part is not None]
        return super().training_step([torch.cat(column) for column in zip(*parts, strict=True)], batch_idx)


class HasLoaders(StatefulClassifier):
    """Its hooks note every call, and each call returns another order."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def train_dataloader(self) -> DataLoader[Any]:
        self.calls.append("train")
        return loader(generator=torch.Generator().manual_seed(len(self.calls)))

    def val_dataloader(self) -> DataLoader[Any]:
        self.calls.append("val")
        return val_loader()


class DataModule(LightningDataModule):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.mean, self.transfers = MeanMetric(), 0

    def train_dataloader(self) -> DataLoader[Any]:
        self.calls.append("train")
        return loader(num_workers=2)

    def val_dataloader(self) -> DataLoader[Any]:
        self.calls.append("val")
        return val_loader()

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        self.transfers += 1
        self.mean(self.transfers)
        return [batch[0] + 0.01 * self.mean.compute(), batch[1]]


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


WORKERS: dict[str, dict[str, Any]] = {
    "0 workers": {},
    "2 workers": {"num_workers": 2},
    "persistent workers": {"num_workers": 2, "persistent_workers": True},
}
LATER = {"at_epochs": (0, 1)}
STREAM = {"is_stream": True}
ONE_EPOCH = {"max_epochs": 1}
LIMITED = {"max_epochs": 3, "limit_train_batches": 7}
SETTINGS: dict[str, Run] = {
    **{f"shuffled, {name}": Run(train=lambda o=o: loader(**o), rehearse=LATER) for name, o in WORKERS.items()},  # type: ignore[misc]
    **{
        f"own generator, {name}": Run(train=lambda o=o: loader(generator=generator(), **o))  # type: ignore[misc]
        for name, o in WORKERS.items()
    },
    **{
        f"augmented, {name}": Run(train=lambda o=o: DataLoader(Augmented(), 4, shuffle=True, **o), rehearse=LATER)  # type: ignore[misc]
        for name, o in WORKERS.items()
    },
    **{
        f"iterable, {name}": Run(train=lambda o=o: DataLoader(Iterable(), 4, **o), rehearse=LATER)  # type: ignore[misc]
        for name, o in WORKERS.items()
    },
    "sampler with generator": Run(
        train=lambda: loader(shuffle=False, sampler=RandomSampler(range(24), True, generator=generator()))
    ),
    "weighted sampler": Run(train=lambda: loader(shuffle=False, sampler=WeightedRandomSampler([1.0] * 24, 24))),
    **{
        f"sampler that shuffles a {kind}": Run(
            train=lambda kind=kind: loader(1200, shuffle=False, sampler=Shuffling(1200, kind)),  # type: ignore[misc]
            trainer=lambda: {"limit_train_batches": 6},
            rehearse=LATER,
        )
        for kind in ("list", "array", "tensor")
    },
    "iterable with a long order": Run(
        train=lambda: DataLoader(Iterable(1200), 4), trainer=lambda: {"limit_train_batches": 6}, rehearse=LATER
    ),
    "iterable with a length": Run(train=lambda: DataLoader(SizedIterable(), 4)),
    "plain iterable": Run(train=Batches, rehearse=LATER),
    "generator": Run(train=batches, trainer=lambda: ONE_EPOCH, rehearse={**STREAM, "times": 2, "rewinds": 1}),
    "generator over epochs": Run(train=batches, trainer=lambda: LIMITED, rehearse={**STREAM, **LATER}),
    "stream": Run(train=lambda: DataLoader(Stream(), 4), trainer=lambda: ONE_EPOCH, rehearse=STREAM),
    "stream over epochs": Run(
        train=lambda: DataLoader(Stream(), 4),
        trainer=lambda: {"max_epochs": 4, "limit_train_batches": 7},
        rehearse={**STREAM, "at_epochs": (0, 1, 2), "times": 2, "rewinds": 1},
    ),
    "stream, 2 workers": Run(train=lambda: DataLoader(Stream(), 4, num_workers=2), trainer=lambda: ONE_EPOCH),
    "stream in a dataset": Run(train=lambda: DataLoader(Wrapped(), 4), trainer=lambda: ONE_EPOCH, rehearse=STREAM),
    "dataset that is an iterator": Run(
        train=lambda: DataLoader(Iterated(), 4), trainer=lambda: ONE_EPOCH, rehearse=STREAM
    ),
    "dict of loaders": Run(Joined, train=lambda: {"a": loader(), "b": loader(16, num_workers=2)}, rehearse=LATER),
    "list of loaders": Run(Joined, train=lambda: [loader(), loader(16)], rehearse=LATER),
    "loader and stream": Run(
        Joined, train=lambda: [loader(), batches()], trainer=lambda: {"limit_train_batches": 20}, rehearse=STREAM
    ),
    **{
        f"combined loader, {mode}": Run(Joined, train=lambda mode=mode: CombinedLoader([loader(), loader(16)], mode))  # type: ignore[misc]
        for mode in ("min_size", "max_size", "max_size_cycle")
    },
    "hooks": Run(HasLoaders, train=None, rehearse=LATER),
    "hooks, reloaded": Run(
        HasLoaders, train=None, trainer=lambda: {"reload_dataloaders_every_n_epochs": 1}, rehearse=LATER
    ),
    "hooks, reloaded, metric of validation": Run(
        HasLoaders,
        train=None,
        trainer=lambda: {"max_epochs": 4, "reload_dataloaders_every_n_epochs": 2},
        rehearse={"at_epochs": (1, 2, 3), "monitor": "val_acc"},
    ),
    "data module": Run(train=None, datamodule=DataModule, rehearse=LATER),
    "limited": Run(trainer=lambda: {"limit_train_batches": 3}, rehearse=LATER),
    "overfit": Run(
        train=lambda: loader(shuffle=False), val=val_loader, trainer=lambda: {"overfit_batches": 2}, rehearse=LATER
    ),
    "validation every 2 batches": Run(
        val=lambda: [val_loader(), val_loader(12)],
        trainer=lambda: {"val_check_interval": 2},
        rehearse={**LATER, "monitor": "val_loss/dataloader_idx_1"},
    ),
    "validation across epochs": Run(
        val=val_loader,
        trainer=lambda: {"val_check_interval": 4, "check_val_every_n_epoch": None},
        rehearse=LATER,
    ),
    "no sanity check": Run(
        val=lambda: loader(8),
        trainer=lambda: {"num_sanity_val_steps": 0},
        rehearse={**LATER, "monitor": "val_acc", "eval_batches": 2},
    ),
    "validation of later epochs": Run(
        val=val_loader,
        trainer=lambda: {"check_val_every_n_epoch": 2, "num_sanity_val_steps": 0},
        rehearse={**LATER, "monitor": "val_acc"},
    ),
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_leaves_no_trace(setting: str, tmp_path: Path) -> None:
    rehearse = assert_no_trace(tmp_path, SETTINGS[setting])
    assert all(len(values) >= 5 for values in rehearse.values)
    assert not multiprocessing.active_children()
