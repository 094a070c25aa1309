"""A range test or search warns of the iterators that the module holds, which it cannot rewind, and of nothing else."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from lightning_lr import LRRangeTest, LRSearch
from lightning_lr.trainer.held_iterators import held_iterators
from tests.helpers.lightning_classes import Callback, LightningModule, Trainer
from tests.helpers.rehearsal_check import EXPECTED_WARNINGS, QUIET
from tests.helpers.stateful_model import StatefulClassifier, dataset, loader

pytestmark = [*EXPECTED_WARNINGS, pytest.mark.filterwarnings("ignore:.*is not confident of its result")]

TESTS: dict[str, Callable[[], Callback]] = {
    "sweep": lambda: LRRangeTest(num_steps=10, verify=False),
    "range test": lambda: LRRangeTest(num_steps=10),
    "search": lambda: LRSearch(1e-3, 1e-1),
}


def generator(ends_after: int = 1000) -> Iterator[int]:
    yield from range(ends_after)


def ended() -> Iterator[int]:
    numbers = generator(0)
    assert list(numbers) == []
    return numbers


class Slotted:
    __slots__ = ("numbers",)

    def __init__(self, numbers: Any) -> None:
        self.numbers = numbers


class Endless:
    """Wraps an iterator, as wrappers that begin a loader again do."""

    def __init__(self, numbers: Any) -> None:
        self.numbers = numbers


def holding(held: Any) -> StatefulClassifier:
    model = StatefulClassifier()
    model.held = held
    return model


def warned(model: LightningModule, callback: Callback, folder: Path, train: Any = None) -> list[str]:
    """The warnings of a fit of one epoch that speak of iterators."""
    trainer = Trainer(default_root_dir=folder, max_epochs=1, logger=False, callbacks=[callback], **QUIET)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(model, *([] if train is None else [train]))
    return [str(each.message) for each in caught if "iterator" in str(each.message)]


@pytest.mark.parametrize("name", TESTS)
def test_one_sentence_for_each_test(name: str, tmp_path: Path) -> None:
    callback = TESTS[name]()
    assert warned(holding(itertools.count()), callback, tmp_path, loader()) == [
        f"{type(callback).__name__} cannot rewind iterators (model.held): if training_step takes items of them, the run"
        " begins where the test has left them, so make them anew in on_train_start or read them from the Trainer's"
        " loaders."
    ]


@pytest.mark.parametrize(
    ("held", "names"),
    {
        "cycle": (itertools.cycle([1]), ["model.held"]),
        "generator": (generator(), ["model.held"]),
        "of a list": (iter([1]), ["model.held"]),
        "of a loader": (iter(loader()), ["model.held"]),
        "dict": ({"a": [generator(), 1]}, ["model.held['a'][0]"]),
        "object": (Endless(Slotted(generator())), ["model.held.numbers.numbers"]),
        "module": (nn.Sequential(holding(zip([1]))), ["model.held.0.held"]),
        "several": ([zip([1]), zip([1])], ["model.held[0]", "model.held[1]"]),
    }.values(),
)  # fmt: skip
def test_iterators_are_named(held: Any, names: list[str]) -> None:
    assert held_iterators(holding(held)) == names


def test_an_ended_generator_is_no_iterator_to_warn_of() -> None:
    assert held_iterators(holding(ended())) == []


def test_files_and_loaders_are_not_warned_of(tmp_path: Path) -> None:
    kept = loader(num_workers=1, persistent_workers=True)
    next(iter(kept))
    assert kept._iterator is not None
    with (tmp_path / "log").open("w") as file:
        assert held_iterators(holding([file, kept])) == []


def test_hyperparameters_are_named_once() -> None:
    class Saves(LightningModule):
        def __init__(self, numbers: Any) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.numbers = numbers

    assert held_iterators(Saves(itertools.count())) == ["model.numbers"]


class Begins(StatefulClassifier):
    """Makes its iterator in on_train_start, and notes what it takes of it."""

    def __init__(self) -> None:
        super().__init__()
        self.ticks: Iterator[int] | None = None
        self.taken: list[int] = []

    def on_train_start(self) -> None:
        self.ticks = itertools.count()

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        assert self.ticks is not None
        self.taken.append(next(self.ticks))
        return super().training_step(batch, batch_idx)


@pytest.mark.parametrize("name", TESTS)
def test_an_iterator_that_is_made_in_on_train_start_begins_anew(name: str, tmp_path: Path) -> None:
    model = Begins()
    assert warned(model, TESTS[name](), tmp_path, loader()) == []
    assert model.taken == [0, 1, 2, 3, 4, 5]


class Streams(IterableDataset[Any]):
    def __init__(self, samples: Iterator[Any]) -> None:
        self.samples = samples

    def __iter__(self) -> Iterator[Any]:
        return self.samples


@pytest.mark.parametrize("of_dataset", [False, True])
def test_a_stream_of_the_trainer_is_replayed(of_dataset: bool, tmp_path: Path) -> None:
    class Feeds(StatefulClassifier):
        def __init__(self) -> None:
            super().__init__()
            samples = itertools.chain.from_iterable(itertools.repeat([*zip(*dataset().tensors, strict=True)], 20))
            self.stream = samples if of_dataset else itertools.chain.from_iterable(itertools.repeat(list(loader()), 20))

        def train_dataloader(self) -> Any:
            return DataLoader(Streams(self.stream), 4) if of_dataset else self.stream

    assert warned(Feeds(), LRRangeTest(num_steps=10, verify=False), tmp_path) == []
