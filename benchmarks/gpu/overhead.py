"""The time and the memory that each contestant adds to a training step.

All contestants train the same module in turn, in one process: one round after the other until the time is over. Each
turn is a run of its own with a new optimizer. Its first steps do not count. A ratio is taken within a round, because a
GPU changes its clock while it works. A turn lasts for more than a second, so that it has what loggers get in blocks.

Memory is the peak of a turn, and what is held between two steps, above those of the bare loop, in copies of the
trained parameters in float32.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Iterable
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader

from benchmarks.gpu.record import Record
from benchmarks.gpu.training import BARE, CONTESTANTS, Network, fit, synchronize


class _Meter(Callback):
    """Measures the time of the last steps, and the memory. It must be the last callback."""

    def __init__(self, device: torch.device, first: int, last: int) -> None:
        self.device, self.first, self.last = device, first, last
        self.seconds = 0.0
        self.peak = self.held = 0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if batch_idx == self.first:
            gc.collect()  # the Trainer of the turn before is part of cycles, with the buffers of its callbacks
            if self.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            synchronize(self.device)
            self.seconds = -time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx == self.last:
            synchronize(self.device)
            self.seconds += time.perf_counter()
            if self.device.type == "cuda":
                self.peak, self.held = torch.cuda.max_memory_allocated(), torch.cuda.memory_allocated()


def measure(
    record: Record,
    part: str,
    module: Network,
    loader: DataLoader[Any],
    device: torch.device,
    names: Iterable[str],
    *,
    seconds: float,
    least_rounds: int,
    warm_up: int,
    steps: int,
) -> None:
    """Add a row for each contestant.

    Args:
        record: gets the rows.
        part: first value of each row.
        module: trained by all, compiled or not.
        loader: of its batches.
        device: that trains.
        names: of the contestants; the bare loop is always one.
        seconds: after which no further round begins.
        least_rounds: rounds that are made however long they take.
        warm_up: steps of a turn that do not count.
        steps: that count.
    """
    start = time.perf_counter()
    fit(module, loader, device, CONTESTANTS[BARE], warm_up)
    first = time.perf_counter() - start
    rounds: list[dict[str, _Meter]] = []
    names = list(dict.fromkeys([BARE, *names]))
    start = time.perf_counter()
    while len(rounds) < least_rounds or time.perf_counter() - start < seconds:
        meters = {name: _Meter(device, warm_up, warm_up + steps - 1) for name in names}
        for name, meter in meters.items():
            fit(module, loader, device, CONTESTANTS[name], warm_up + steps, more=(meter,))
        rounds.append(meters)
    copy = 4 * sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
    for name in names:
        added = [100 * (each[name].seconds / each[BARE].seconds - 1) for each in rounds]
        last = rounds[-1]
        record.add(
            part,
            contestant=name,
            ms_per_step=1000 / steps * statistics.median(each[name].seconds for each in rounds),
            added_percent=statistics.median(added),
            added_least=min(added),
            added_most=max(added),
            rounds=len(rounds),
            copies_at_peak=(last[name].peak - last[BARE].peak) / copy,
            copies_held=(last[name].held - last[BARE].held) / copy,
            peak_gib=last[name].peak / 2**30,
            seconds_of_first_steps=first,
        )
