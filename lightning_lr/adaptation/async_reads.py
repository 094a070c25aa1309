"""Numbers of the device that are read when they are known, not waited for."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class LateValues:
    """A queue of rows of numbers. A step passes between `put` and `take`, so that neither waits for the work at hand.

    A tensor on a CUDA device is copied to pinned memory behind the work that computes it; when it is taken, the device
    is busy with what came after it.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[Tensor, torch.cuda.Event | None, Any]] = []

    def put(self, values: Tensor, beside: Any) -> None:
        """Put in a tensor of shape [n], and whatever belongs to it."""
        event = None
        if values.is_cuda:
            host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            host.copy_(values, non_blocking=True)
            values, event = host, torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record()
        self._waiting.append((values, event, beside))

    def take(self) -> list[tuple[list[float], Any]]:
        """All rows, the oldest first, and what belongs to each."""
        rows = []
        for values, event, beside in self._waiting:
            if event is not None:
                event.synchronize()
            rows.append((values.tolist(), beside))
        self._waiting.clear()
        return rows

    def clear(self) -> None:
        """Drop everything."""
        self._waiting.clear()

    def state(self) -> list[list[Any]]:
        """What is waiting, in plain numbers. Waits for the device."""
        rows = self.take()
        self.load_state([list(row) for row in rows])
        return [list(row) for row in rows]

    def load_state(self, state: list[list[Any]]) -> None:
        """Go on from what `state` gave."""
        self._waiting = [(torch.tensor(values, dtype=torch.float64), None, beside) for values, beside in state]
