"""Training data of a workload: batches that are cut out when they are asked for, so that long runs need no memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import overload

import torch

from benchmarks.suite.setting import Batch

_BATCH_SEED = 9000


class Batches(Sequence[Batch]):
    """Rows of the data, shuffled for each epoch. The same number always has the same batch.

    Args:
        data: tensors with the same number of rows.
        batch_size: rows of a batch.
        count: number of batches.
        seed: of the order of the rows.
    """

    def __init__(self, data: Batch, batch_size: int, count: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(_BATCH_SEED + seed)
        per_epoch = len(data[0]) // batch_size
        epochs = -(-count // per_epoch)
        orders = [torch.randperm(len(data[0]), generator=generator)[: per_epoch * batch_size] for _ in range(epochs)]
        self._data, self._rows = data, torch.cat(orders).view(-1, batch_size)[:count]

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Batch: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Batch]: ...

    def __getitem__(self, index: int | slice) -> Batch | Sequence[Batch]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        return tuple(each[self._rows[index]] for each in self._data)


def split(data: Batch, validation_rows: int, batch_size: int) -> tuple[Callable[[int, int], Sequence[Batch]], Batch]:
    """The function that makes batches of all rows but the last ones, and these."""
    train = tuple(each[:-validation_rows] for each in data)
    validation = tuple(each[-validation_rows:] for each in data)
    return lambda count, seed: Batches(train, batch_size, count, seed), validation
