"""Data loaders for a rehearsal: the data that training will see, in the same order, and none of it is lost.

A loader that can be iterated again is copied; the copy has its own iterator and workers. A one-shot stream is read
through the iterator that training will use. The batches that a rehearsal takes from it are kept, and training gets them
again.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.utilities.combined_loader import CombinedLoader
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


def ending_together(streams: Mapping[int, ReplayableStream], trainer: Trainer) -> Mapping[int, Iterable[Any]]:
    """Streams for one training, which end with the shortest of all processes.

    One process alone cannot go on: it would wait for the gradients of the others for ever.
    """
    if trainer.world_size == 1:
        return streams
    return {i: _ending_together(stream, trainer) for i, stream in streams.items()}


def _ending_together(stream: ReplayableStream, trainer: Trainer) -> Iterator[Any]:
    while True:
        batches = list(islice(stream, 1))
        if not trainer.strategy.reduce_boolean_decision(bool(batches), all=True):
            return
        yield batches[0]


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


def rehearsal_loaders(loader: CombinedLoader, streams: Mapping[int, Iterable[Any]]) -> CombinedLoader:
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
