"""Numbers of the device that are read when they are known, not waited for."""

from __future__ import annotations

from collections import deque
from typing import Any

import torch
from torch import Tensor


class LateValues:
    """A queue of rows of numbers. A step passes between `put` and `take`, so that neither waits for the work at hand.

    A tensor on a CUDA device is copied to pinned memory behind the work that computes it; when it is taken, the device
    is busy with what came after it.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[Tensor, torch.cuda.Event | None, Any]] = deque()

    def put(self, values: Tensor, beside: Any) -> None:
        """Put in a tensor of shape [n], and whatever belongs to it."""
        event = None
        if values.is_cuda:
            host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            host.copy_(values, non_blocking=True)
            values, event = host, torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record()
        self._waiting.append((values, event, beside))

    def take(self) -> tuple[list[float], Any] | None:
        """The oldest row and what belongs to it, None if there is none."""
        if not self._waiting:
            return None
        values, event, beside = self._waiting.popleft()
        if event is not None:
            event.synchronize()
        return values.tolist(), beside

    def clear(self) -> None:
        """Drop everything."""
        self._waiting.clear()

    def state(self) -> list[list[Any]]:
        """What is waiting, in plain numbers. Waits for the device."""
        waiting = []
        for values, event, beside in self._waiting:
            if event is not None:
                event.synchronize()
            waiting.append([values.tolist(), beside])
        return waiting

    def load_state(self, state: list[list[Any]]) -> None:
        """Go on from what `state` gave."""
        self._waiting = deque((torch.tensor(values, dtype=torch.float64), None, beside) for values, beside in state)
