"""How often a step waits for the device, away from logging.

Counted are the operations that `torch.cuda.set_sync_debug_mode` warns of, and the waits for events. `HypergradientLR`
waits for an event of the step before, so that the host is at most one step ahead. This is no wait for the current step.
"""

from __future__ import annotations

import warnings
from collections import Counter
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader

from benchmarks.gpu.record import Record
from benchmarks.gpu.training import CONTESTANTS, Contestant, Network, fit

_MESSAGE = "synchronizing CUDA operation"


class _Begin(Callback):
    """The first callback: from a step on, waits are counted."""

    def __init__(self, first: int) -> None:
        self.first = first

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if batch_idx == self.first:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")


class _End(Callback):
    """The last callback: from the end of a step on, waits are not counted."""

    def __init__(self, last: int) -> None:
        self.last = last

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx == self.last:
            torch.cuda.set_sync_debug_mode("default")


def measure(record: Record, module: Network, loader: DataLoader[Any], device: torch.device, warm_up: int) -> None:
    """Add a row for each contestant. Ten steps are counted, of which `HypergradientLR` measures two or all."""
    steps, synchronize = 10, torch.cuda.Event.synchronize
    for name, contestant in CONTESTANTS.items():
        waits: Counter[str] = Counter()

        def counted(event: Any, waits: Counter[str] = waits) -> None:
            if torch.cuda.get_sync_debug_mode():
                waits["events"] += 1
            synchronize(event)

        def callbacks(contestant: Contestant = contestant) -> list[Callback]:
            return [_Begin(warm_up), *contestant.callbacks()]

        torch.cuda.Event.synchronize = counted  # type: ignore[assignment, method-assign]
        try:
            places = _places(module, loader, device, contestant._replace(callbacks=callbacks), warm_up, steps)
        finally:
            torch.cuda.Event.synchronize = synchronize  # type: ignore[method-assign]
            torch.cuda.set_sync_debug_mode("default")
        record.add(
            "waits",
            contestant=name,
            per_step=sum(places.values()) / steps,
            for_earlier_events_per_step=waits["events"] / steps,
            places=dict(places),
        )


def _places(
    module: Network, loader: DataLoader[Any], device: torch.device, contestant: Contestant, warm_up: int, steps: int
) -> Counter[str]:
    """How often each line of code has waited."""
    end = _End(warm_up + steps - 1)
    with warnings.catch_warnings(record=True) as caught:
        fit(module, loader, device, contestant, warm_up + steps + 1, log_every_n_steps=10**6, more=(end,))
    return Counter(f"{each.filename}:{each.lineno}" for each in caught if _MESSAGE in str(each.message))
