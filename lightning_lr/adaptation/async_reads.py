"""Numbers of the device that are read one step later, so that nothing waits for the device."""

from __future__ import annotations

from typing import Generic, TypeVar

import torch
from torch import Tensor

Context = TypeVar("Context")


class AsyncReads(Generic[Context]):
    """A queue of rows of numbers, each with something that belongs to it.

    Call `take` one step after `put`. A tensor on a CUDA device is copied to pinned memory right after the operations
    that compute it; when it is taken, the device already works on what came later.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[Tensor, torch.cuda.Event | None, Context]] = []

    def put(self, values: Tensor, context: Context) -> None:
        """Add a tensor of shape [n], and what belongs to it."""
        event = None
        if values.is_cuda:
            host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            host.copy_(values, non_blocking=True)
            values, event = host, torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record()
        self._waiting.append((values, event, context))

    def take(self) -> list[tuple[list[float], Context]]:
        """Remove and return all rows, the oldest first, each with what belongs to it."""
        rows = []
        for values, event, context in self._waiting:
            if event is not None:
                event.synchronize()
            rows.append((values.tolist(), context))
        self._waiting.clear()
        return rows

    def clear(self) -> None:
        """Drop all rows."""
        self._waiting.clear()

    def state(self) -> list[tuple[list[float], Context]]:
        """All rows, which stay in the queue. Waits for the device."""
        rows = self.take()
        self.load_state(rows)
        return rows

    def load_state(self, state: list[tuple[list[float], Context]]) -> None:
        """Continue from what `state` gave."""
        self._waiting = [(torch.tensor(values, dtype=torch.float64), None, context) for values, context in state]


def sum_over_processes(values: Tensor) -> Tensor:
    """Sum a tensor over all processes, in place."""
    # not by Trainer.strategy.reduce, whose barrier waits for the device
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(values)
    return values
