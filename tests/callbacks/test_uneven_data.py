"""Processes whose data differ in length: lengths in epochs are agreed on, and so are the learning rates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.multiprocessing.spawn import ProcessRaisedException
from torch.utils.data import DataLoader, IterableDataset

from lightning_lr import CyclicalLR, HypergradientLR, LRRangeTest
from tests.helpers.lightning_classes import Callback, Trainer
from tests.helpers.recorded_steps import RecordingClassifier, first_group_lrs
from tests.helpers.tiny_models import loader, quiet_trainer

pytestmark = [
    pytest.mark.skipif(torch.cuda.is_available(), reason="a process that has used CUDA cannot fork"),
    pytest.mark.filterwarnings("ignore:Your `IterableDataset` has `__len__` defined"),
    pytest.mark.filterwarnings("ignore:.*lr_scheduler.step.*before.*optimizer.step.*"),
]
BATCHES = (9, 12)  # of each rank


class Shard(IterableDataset[tuple[Tensor, ...]]):
    """The files of this rank."""

    def __len__(self) -> int:
        return 8 * BATCHES[torch.distributed.get_rank() if torch.distributed.is_initialized() else 0]

    def __iter__(self) -> Iterator[Any]:
        samples: Any = loader().dataset
        return (sample for i, sample in enumerate(samples) if i < len(self))


class Stream(IterableDataset[tuple[Tensor, ...]]):
    """The files of this rank, which can be read once."""

    def __init__(self, *batches: int) -> None:
        self.batches, self.position = batches, 0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self.position == 8 * self.batches[torch.distributed.get_rank()]:
            raise StopIteration
        self.position += 1
        samples: Any = loader().dataset
        return samples[self.position - 1]


class UsesLRs(Callback):
    """Checks that both ranks have used the learning rates of a schedule."""

    def __init__(self, expected: list[float]) -> None:
        self.expected = expected

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        assert first_group_lrs(pl_module) == self.expected


class HasPoints(Callback):
    """Checks where the sweep of a range test has ended."""

    def __init__(self, test: LRRangeTest, points: int) -> None:
        self.test, self.points = test, points

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        assert self.test.result is not None
        assert len(self.test.result.curve.lrs) == self.points


def fit_uneven(*callbacks: Callback, data: Any = None, max_steps: int = 20) -> None:
    trainer = quiet_trainer(
        callbacks=list(callbacks),
        strategy="ddp_fork",
        accelerator="cpu",
        devices=2,
        max_epochs=-1,
        max_steps=max_steps,
    )
    trainer.fit(RecordingClassifier(), DataLoader(Shard() if data is None else data, 8))


@pytest.mark.filterwarnings("ignore:The processes have 9 to 12 training batches")
def test_lengths_are_those_of_the_rank_with_the_fewest_batches() -> None:
    fit_uneven(
        CyclicalLR(0.01, 0.1, "1ep"),
        HypergradientLR(horizon="1ep", adapt=False),
        UsesLRs(CyclicalLR(0.01, 0.1, 9).preview(20).lr.tolist()),
    )


@pytest.mark.filterwarnings("ignore:The processes have 9 to 12 training batches")
def test_adaptation_agrees() -> None:
    """`EqualLRs` of the tests' Trainer compares the ranks."""
    fit_uneven(HypergradientLR(horizon="1ep"))


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (CyclicalLR(0.01, 0.1, "1ep"), "UserWarning: The processes have 9 to 12 training batches"),
        (
            LRRangeTest(at_epochs=[2]),
            r"at_epochs=\[2\]\) needs as many training batches .*, got 9 to 12: set limit_train_batches=9",
        ),
    ],
)
def test_what_is_said(callback: Callback, message: str) -> None:
    """The processes raise here, for warnings are errors."""
    with pytest.raises(ProcessRaisedException, match=message):
        fit_uneven(callback)


# Lightning holds the first batch already, so a sweep has one less than the shorter stream.
@pytest.mark.filterwarnings("ignore:LRRangeTest is not confident")
def test_a_sweep_ends_with_the_shorter_stream() -> None:
    """Where it goes on since the loss still falls. All batches are there for the training."""
    test = LRRangeTest(1e-3, 0.1, num_steps=10, apply=False, verify=False)
    fit_uneven(test, HasPoints(test, 12), data=Stream(13, 16), max_steps=13)


@pytest.mark.parametrize("batches", [(9, 12), (12, 9)])
def test_a_stream_that_is_too_short_on_one_process_is_an_error_on_all(batches: tuple[int, int]) -> None:
    with pytest.raises(ProcessRaisedException, match="needs 10 optimizer steps, but the training data ended after 8"):
        fit_uneven(LRRangeTest(num_steps=10), data=Stream(*batches), max_steps=8)
