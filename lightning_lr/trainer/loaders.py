"""Data loaders for training aside: the same data in the same order, and nothing is taken away from the run.

Loaders that can be iterated again are read through copies with iterators and workers of their own. A stream that can be
read only once is read through the iterator that training will use, and what was read is given to training again.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from lightning.pytorch.utilities.combined_loader import CombinedLoader
from torch.utils.data import DataLoader, IterableDataset


class Stream:
    """A stream that cannot be started again: what a rehearsal takes from it is kept and given again."""

    def __init__(self, loader: CombinedLoader, index: int, goes_on: bool) -> None:
        assert loader._iterator is not None
        self._iterables, self._iterators, self._index = loader.flattened, loader._iterator.iterators, index
        self._goes_on = goes_on  # whether training goes on with its iterator, or asks for a new one
        self._source = self._iterators[index] if goes_on else iter(self._iterables[index])
        self._given: list[Any] = []
        self._position = 0

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Any:
        if self._position == len(self._given):
            self._given.append(next(self._source))
        self._position += 1
        return self._given[self._position - 1]

    def rewind(self) -> None:
        self._position = 0

    def replay(self) -> None:
        """Let training read from here: first what was kept, each batch let go once it is given."""
        stream = self._iterables[self._index]
        replayed = self._iterators[self._index] = _replayed(self._given, self._source)
        if not isinstance(stream, Iterator):
            replayed = _replaying(stream, self._given, [] if self._goes_on else [self._source])
        self._iterables[self._index] = replayed


def _replayed(kept: list[Any], rest: Iterator[Any]) -> Iterator[Any]:
    while kept:
        yield kept.pop(0)
    for batch in rest:  # noqa: UP028  # "yield from" would close the user's generator together with this one
        yield batch


def _replaying(loader: Any, kept: list[Any], sources: list[Iterator[Any]]) -> Any:
    """The same loader, which first gives what is kept, and then reads from the given iterators before its own."""

    def iterate(self: Any) -> Iterator[Any]:
        own = type(loader).__iter__(self)  # in any case: it draws a seed
        return _replayed(kept, sources.pop() if sources else own)

    replaying = copy.copy(loader)
    replaying.__class__ = type(type(loader).__name__, (type(loader),), {"__iter__": iterate})
    return replaying


class KeptBatches:
    """Batches that were read once and are given over and over, each as a copy, since a training step may change it.

    Args:
        batches: all of them.
        first: the one that the first round begins with.
    """

    def __init__(self, batches: list[Any], first: int) -> None:
        self._batches, self._first = batches, first

    def __iter__(self) -> Iterator[Any]:
        first, self._first = self._first, 0
        for batch in self._batches[first:]:
            yield copy.deepcopy(batch)


def read_batches(loader: CombinedLoader, streams: dict[int, Stream], most: float) -> list[Any]:
    """The first batches of an epoch. Copies: what workers give lies in shared memory, of which there is little."""
    aside = loaders_aside(loader, streams)
    batches: list[Any] = []
    try:
        iterator = iter(aside)
        while len(batches) < most and (item := next(iterator, None)) is not None:
            batches.append(copy.deepcopy(item[0]))
    finally:
        aside.reset()  # its workers
    return batches


def is_one_shot(iterable: Any) -> bool:
    """Whether a second iteration goes on where the first one stopped."""
    if isinstance(iterable, DataLoader):
        # each worker reads a copy of its own, and a map-style dataset can always be read again
        return iterable.num_workers == 0 and _holds_iterator(iterable.dataset)
    return isinstance(iterable, Iterator)


def _holds_iterator(dataset: Any) -> bool:
    if not isinstance(dataset, IterableDataset) or isinstance(dataset, Iterator):
        return isinstance(dataset, Iterator)
    held = [*vars(dataset).values()]
    for container in [value for value in held if isinstance(value, (list, tuple))]:
        held += container
    return any(_holds_iterator(value) for value in held)


def loaders_aside(loader: CombinedLoader, streams: dict[int, Stream]) -> CombinedLoader:
    """The same loaders with iterators and workers of their own. Persistent workers belong to the loader object."""
    aside = copy.copy(loader)
    aside._iterator = None
    flattened: list[Any] = []
    for i, iterable in enumerate(loader.flattened):
        if i in streams:
            iterable = streams[i]
        elif isinstance(iterable, DataLoader):
            iterable = copy.copy(iterable)
            iterable._iterator = None
        flattened.append(iterable)
    aside.flattened = flattened
    return aside
