"""Batches that a rehearsal keeps: they hold nothing but themselves, and each use gets a copy of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence
from torch.utils.data import DataLoader

from lightning_lr.trainer.cached_batches import CachedBatches, read_batches
from tests.helpers.lightning_classes import CombinedLoader


class Graph:
    """A batch of a class of its own, as graph libraries have."""

    def __init__(self) -> None:
        self.nodes = torch.ones(3)


@dataclass(frozen=True)
class Sample:
    """Moves itself to a device, so Lightning takes it as it is."""

    x: Tensor

    def to(self, device: torch.device) -> Sample:
        return Sample(self.x.to(device))


def read(batch: Any) -> list[Any]:
    loader = CombinedLoader(DataLoader([batch], batch_size=None, collate_fn=lambda batch: batch))  # type: ignore[arg-type]
    iter(loader)
    return read_batches(loader, {}, max_batches=float("inf"), max_bytes=float("inf"))


def test_a_batch_that_is_a_view_is_kept_without_the_rest_of_the_data() -> None:
    data = torch.arange(1000.0)
    (batch,) = read(data[10:12])
    assert batch.tolist() == [10, 11]
    assert batch.untyped_storage().nbytes() == batch.nbytes


@pytest.mark.parametrize("tensor", [torch.ones(3), torch.ones(3).to_sparse()], ids=["dense", "sparse"])
def test_each_use_gets_a_copy(tensor: Tensor) -> None:
    graph, names = Graph(), ["a"]
    (kept,) = read({"x": tensor, "graph": graph, "names": names})
    for _ in range(2):
        (used,) = CachedBatches([kept]).epochs(0)
        assert used["x"].to_dense().tolist() == used["graph"].nodes.tolist() == [1, 1, 1]
        assert used["names"] == ["a"]
        used["x"].mul_(2)
        used["graph"].nodes.mul_(2)
        used["names"].append("b")
    assert graph.nodes.sum() == tensor.sum() == 3


def test_tensors_with_more_than_values_stay_what_they_are() -> None:
    named, leaf = torch.ones(3), torch.ones(3, requires_grad=True)
    named.path = "a.png"  # type: ignore[attr-defined]
    (kept,) = read([named, leaf])
    (used,) = CachedBatches([kept]).epochs(0)
    assert used[0].path == "a.png"
    assert used[1].requires_grad
    assert used[1].is_leaf
    assert used[0] is not named
    assert used[1] is not leaf


def test_collections_that_cannot_be_changed_or_be_built_without_tensors() -> None:
    rows = torch.arange(1000.0).reshape(500, 2)
    (kept,) = read({"packed": pack_sequence(list(rows[:3])), "sample": Sample(rows[5])})
    assert kept["sample"].x.untyped_storage().nbytes() == rows[5].nbytes
    (used,) = CachedBatches([kept]).epochs(0)
    used["packed"].data.mul_(2)
    used["sample"].x.mul_(2)
    assert kept["packed"].data.tolist() == [0, 2, 4, 1, 3, 5]
    assert kept["sample"].x.tolist() == [10, 11]
