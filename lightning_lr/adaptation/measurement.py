"""What is measured before a step, and its way to the rule: summed over processes, and read from the device later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


class UsedLR(NamedTuple):
    """The highest learning rate of a scaled group in one step, and the scale in it."""

    lr: float | Tensor
    scale: float


class Measurement(NamedTuple):
    """What was measured before a step.

    Attributes:
        sums: ``⟨g, d⟩``, ``‖g‖²``, ``‖d‖²`` of each scaled group, and its learning rate in the step before if that is a
            tensor, else 0; shape [4 · groups]. Of this process on its device; once read, of all processes on the CPU.
        used: learning rate and scale of each scaled group in the step before; the learning rate is 0 if it is a tensor.
        steps: since the last measurement.
        losses: of the batches since then, once read: the mean of the processes that have one; None if none has.
    """

    sums: Tensor
    used: list[UsedLR]
    steps: int
    losses: Sequence[float | None] = ()


class _Row(NamedTuple):
    """A measurement on its way: the sum of the losses and their number for each batch, then the sums, in one tensor."""

    values: Tensor
    copied: torch.cuda.Event | None
    used: list[UsedLR]
    steps: int
    batches: int

    def read(self) -> Measurement:
        if self.copied is not None:
            self.copied.synchronize()
        n = self.batches
        return Measurement(self.values[2 * n :], self.used, self.steps, _means(self.values[: 2 * n].tolist()))


class MeasurementQueue:
    """Measurements that are read one step later, so that nothing waits for the device.

    Call `take` one step after `put`. A tensor on a CUDA device is copied to pinned memory right after the operations
    that compute it; when it is taken, the device already works on what came later.
    """

    def __init__(self) -> None:
        self._rows: list[_Row] = []

    def put(self, measurement: Measurement, losses: Sequence[Tensor | None]) -> None:
        """Add a measurement of this process, with its losses of the batches since the last one, on the device."""
        sums, used, steps, _ = measurement
        values, copied = sum_over_processes(torch.cat([*_sums_and_counts(losses, sums), sums])), None
        if values.is_cuda:
            host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            host.copy_(values, non_blocking=True)
            values, copied = host, torch.cuda.Event()  # type: ignore[no-untyped-call]
            copied.record()
        self._rows.append(_Row(values, copied, used, steps, len(losses)))

    def take(self) -> list[Measurement]:
        """Remove and return all measurements, the oldest first."""
        measurements = [row.read() for row in self._rows]
        self._rows.clear()
        return measurements

    def clear(self) -> None:
        """Drop all measurements."""
        self._rows.clear()

    def state(self) -> list[Any]:
        """For a checkpoint, in plain numbers. Waits for the device."""
        state = []
        for row in self._rows:
            row.read()
            saved = {"used": [tuple(each) for each in row.used], "steps": row.steps, "batches": row.batches}
            state.append([row.values.tolist(), saved])
        return state

    def load_state(self, state: list[Any]) -> None:
        """Continue from what `state` gave."""
        self._rows = [
            _Row(
                torch.tensor(values, dtype=torch.float64),
                None,
                [UsedLR(*each) for each in saved["used"]],
                saved["steps"],
                saved["batches"],
            )
            for values, saved in state
        ]


def mean_over_processes(losses: Sequence[Tensor | None], device: torch.device) -> list[float | None]:
    """The loss of each batch, as in `Measurement`. To be called in all processes; waits for the device."""
    if not losses:
        return []
    return _means(sum_over_processes(torch.cat(_sums_and_counts(losses, torch.zeros((), device=device)))).tolist())


def sum_over_processes(values: Tensor) -> Tensor:
    """Sum a tensor over all processes, in place."""
    # not by Trainer.strategy.reduce, whose barrier waits for the device
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(values)
    return values


def _sums_and_counts(losses: Sequence[Tensor | None], like: Tensor) -> list[Tensor]:
    zero, one = like.new_zeros(1), like.new_ones(1)
    totals, counts = [], []
    for loss in losses:
        totals.append(zero if loss is None else loss.to(like).reshape(1))
        counts.append(zero if loss is None else one)
    return totals + counts


def _means(totals_and_counts: list[float]) -> list[float | None]:
    n = len(totals_and_counts) // 2
    means: list[float | None] = []
    for total, count in zip(totals_and_counts[:n], totals_and_counts[n:], strict=True):
        means.append(total / count if count > 0 else None)
    return means
