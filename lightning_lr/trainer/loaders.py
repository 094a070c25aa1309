"""Data loaders for a rehearsal: the data that training will see, in the same order, and none of it is lost.

A loader that can be iterated again is copied; the copy has its own iterator and workers. A one-shot stream is read
through the iterator that training will use. The batches that a rehearsal takes from it are kept, and training gets them
again.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from lightning.pytorch.utilities.combined_loader import CombinedLoader
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset


class ReplayableStream:
    """Reads a one-shot stream and keeps its batches, so that they can be read again.

    Args:
        loader: the Trainer's loaders.
        index: position of the stream among ``loader.flattened``.
        in_use: whether training will go on with the iterator that ``loader`` has. Otherwise it will ask for a new one.
    """

    def __init__(self, loader: CombinedLoader, index: int, in_use: bool) -> None:
        assert loader._iterator is not None
        self._iterables, self._iterators, self._index = loader.flattened, loader._iterator.iterators, index
        self._in_use = in_use
        # Not called _iterator: Lightning sets an attribute of that name to None.
        self._source = self._iterators[index] if in_use else iter(self._iterables[index])
        self._batches: list[Any] = []
        self._position = 0

    def __iter__(self) -> ReplayableStream:
        return self

    def __next__(self) -> Any:
        if self._position == len(self._batches):
            self._batches.append(next(self._source))
        self._position += 1
        return self._batches[self._position - 1]

    def rewind(self) -> None:
        """Start again with the first batch."""
        self._position = 0

    def hand_to_training(self) -> None:
        """Let training read the kept batches first, then the rest of the stream."""
        stream = self._iterables[self._index]
        batches = self._iterators[self._index] = _kept_then_rest(self._batches, self._source)
        if isinstance(stream, Iterator):
            self._iterables[self._index] = batches
        else:
            self._iterables[self._index] = _with_kept_batches(
                stream, self._batches, [] if self._in_use else [self._source]
            )


def _kept_then_rest(kept: list[Any], rest: Iterator[Any]) -> Iterator[Any]:
    while kept:
        yield kept.pop(0)  # frees the batch once it is used
    for batch in rest:  # noqa: UP028  # "yield from" would close the user's generator together with this one
        yield batch


def _with_kept_batches(loader: Any, kept: list[Any], iterators: list[Iterator[Any]]) -> Any:
    """A copy of a loader that first yields ``kept``, then reads ``iterators``, then iterates as the loader does."""

    def iterate(self: Any) -> Iterator[Any]:
        new = type(loader).__iter__(self)  # even if it is not used: it draws a random seed
        return _kept_then_rest(kept, iterators.pop() if iterators else new)

    copied = copy.copy(loader)
    copied.__class__ = type(type(loader).__name__, (type(loader),), {"__iter__": iterate})
    return copied


class CachedBatches:
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


def is_one_shot(iterable: Any) -> bool:
    """Whether a second iteration continues where the first one stopped."""
    if isinstance(iterable, DataLoader):
        # Each worker reads its own copy of the dataset, and a map-style dataset can always be read again.
        return iterable.num_workers == 0 and _holds_iterator(iterable.dataset)
    return isinstance(iterable, Iterator)


def _holds_iterator(dataset: Any) -> bool:
    if not isinstance(dataset, IterableDataset) or isinstance(dataset, Iterator):
        return isinstance(dataset, Iterator)
    held = [*vars(dataset).values()]
    for container in [value for value in held if isinstance(value, (list, tuple))]:
        held += container
    return any(_holds_iterator(value) for value in held)


def rehearsal_loaders(loader: CombinedLoader, streams: dict[int, ReplayableStream]) -> CombinedLoader:
    """A copy of the loaders with its own iterators and workers.

    Args:
        loader: the Trainer's loaders.
        streams: what to read instead of the one-shot streams in ``loader.flattened``, by their position.
    """
    copied = copy.copy(loader)
    copied._iterator = None
    flattened: list[Any] = []
    for i, iterable in enumerate(loader.flattened):
        if i in streams:
            iterable = streams[i]
        elif isinstance(iterable, DataLoader):
            iterable = copy.copy(iterable)
            iterable._iterator = None  # persistent workers belong to the iterator
        flattened.append(iterable)
    copied.flattened = flattened
    return copied
