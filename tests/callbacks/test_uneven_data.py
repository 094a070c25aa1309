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


class UsesLRs(Callback):
    """Checks that both ranks have used the learning rates of a schedule."""

    def __init__(self, expected: list[float]) -> None:
        self.expected = expected

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        assert first_group_lrs(pl_module) == self.expected


def fit_uneven(*callbacks: Callback) -> None:
    trainer = quiet_trainer(
        callbacks=list(callbacks), strategy="ddp_fork", accelerator="cpu", devices=2, max_epochs=-1, max_steps=20
    )
    trainer.fit(RecordingClassifier(), DataLoader(Shard(), 8))


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
