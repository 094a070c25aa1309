"""Batches that a rehearsal keeps in host memory, so that all its trainings get the same ones in the same order."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from lightning.pytorch.utilities.combined_loader import CombinedLoader
from torch import Tensor

from lightning_lr.trainer.loaders import ReplayableStream, rehearsal_loaders


class CachedBatches:
    """Batches of an epoch, of which some can be left out.

    Args:
        batches: in their order.
    """

    def __init__(self, batches: list[Any]) -> None:
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def epochs(self, first: int) -> Iterable[Any]:
        """What a fit loop reads: the batches that are there now.

        Args:
            first: index of the batch with which the first epoch begins.
        """
        return _Epochs(self._batches, first)

    @contextmanager
    def only_step(self, step: int, batches_per_step: int) -> Iterator[None]:
        """Within this context there are only the batches of one optimizer step, see `leave_out`."""
        batches, first = self._batches, step * batches_per_step % len(self._batches)
        self._batches = batches[first : first + batches_per_step]
        try:
            yield
        finally:
            self._batches = batches

    def leave_out(self, step: int, batches_per_step: int) -> bool:
        """Leave the batches of an optimizer step out of all training that follows.

        Args:
            step: number of the step, from 0.
            batches_per_step: batches that are accumulated for a step.

        Returns:
            Whether others are left. If not, nothing is left out.
        """
        first = step * batches_per_step % len(self._batches)
        kept = self._batches[:first] + self._batches[first + batches_per_step :]
        if kept:
            self._batches = kept
        return bool(kept)


class _Epochs:
    """Batches that are given in the same order in every epoch. Each is a copy, since a training step may change it.

    Args:
        batches: the batches of an epoch.
        first: index of the batch with which the first epoch begins.
    """

    def __init__(self, batches: list[Any], first: int) -> None:
        self._batches, self._first = batches, first

    def __iter__(self) -> Iterator[Any]:
        first, self._first = self._first, 0
        for batch in self._batches[first:]:
            yield _copied(batch)


def read_batches(
    loader: CombinedLoader, streams: dict[int, ReplayableStream], max_batches: float, max_bytes: float
) -> list[Any]:
    """The first batches of an epoch, copied: batches from workers are in shared memory, of which there is little.

    Args:
        loader: the Trainer's loaders.
        streams: what to read instead of one-shot streams.
        max_batches: the most batches.
        max_bytes: the most bytes of their tensors. It may be exceeded by the first batch only.
    """
    loaders = rehearsal_loaders(loader, streams)
    batches: list[Any] = []
    try:
        iterator = iter(loaders)
        num_bytes = 0
        while len(batches) < max_batches and (item := next(iterator, None)) is not None:
            num_bytes += _num_bytes(item[0])
            if batches and num_bytes > max_bytes:
                break
            batches.append(_copied(item[0]))
    finally:
        loaders.reset()  # ends the workers
    return batches


def _copied(batch: Any) -> Any:
    """A deep copy of a batch.

    Tensors are cloned. That takes a tenth of the time of `copy.deepcopy`, which copies the whole storage of a tensor:
    all of the data if a batch is a view of it.
    """
    plain = [each for each in _tensors(batch) if type(each) is Tensor and not each.requires_grad and not vars(each)]
    return copy.deepcopy(batch, {id(each): each.clone() for each in plain})  # which takes the clones, copies the rest


def _num_bytes(batch: Any) -> int:
    """Bytes of the tensors of a batch. A sparse one counts as its numbers and their places, 8 bytes a dimension."""
    return sum(
        each.nbytes if each.layout == torch.strided else each._nnz() * (each.element_size() + 8 * each.ndim)
        for each in _tensors(batch)
    )


def _tensors(batch: Any) -> Iterator[Tensor]:
    """The tensors in the mappings, sequences and dataclasses of a batch.

    Not by Lightning's ``apply_to_collection``, which builds each collection anew: that fails for a ``PackedSequence``
    without tensors, and for a frozen dataclass.
    """
    if isinstance(batch, Tensor):
        yield batch
    elif isinstance(batch, Mapping):
        for value in batch.values():
            yield from _tensors(value)
    elif isinstance(batch, Sequence) and not isinstance(batch, (str, bytes)):
        for value in batch:
            yield from _tensors(value)
    elif is_dataclass(batch) and not isinstance(batch, type):
        for each in fields(batch):
            yield from _tensors(getattr(batch, each.name))
