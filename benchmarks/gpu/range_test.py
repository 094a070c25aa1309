"""The time of a range test's sweep, against as many plain steps and against Lightning's ``LearningRateFinder``."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import LearningRateFinder
from torch.utils.data import DataLoader

from benchmarks.gpu.record import Record
from benchmarks.gpu.training import Contestant, Network, fit, synchronize
from lightning_lr import LRRangeTest

_RANGE = (1e-8, 1e-5)  # nothing diverges here, so both take all of their steps
_ROUNDS = 2


def measure(record: Record, module: Network, loader: DataLoader[Any], device: torch.device, steps: int) -> None:
    """Add a row for each way. Each includes one step of the run; the first round is a warm-up."""
    plain, lrs = "plain steps", np.geomspace(*_RANGE, steps).tolist()  # with lrs the sweep does not go on at its end
    ways: dict[str, tuple[Callable[[], list[Callback]], int]] = {
        plain: (list, steps + 1),
        "LRRangeTest(verify=False)": (lambda: [LRRangeTest(lrs=lrs, verify=False)], 1),
        "LearningRateFinder": (lambda: [LearningRateFinder(*_RANGE, steps, early_stop_threshold=None)], 1),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(_ROUNDS + 1):
        for name, (callbacks, run) in ways.items():
            synchronize(device)
            start = time.perf_counter()
            fit(module, loader, device, Contestant(callbacks), run)
            synchronize(device)
            seconds[name].append(time.perf_counter() - start)
    for name, times in seconds.items():
        ratios = [mine / base for mine, base in zip(times[1:], seconds[plain][1:], strict=True)]
        record.add(
            "range test",
            contestant=name,
            steps=steps,
            stays_in_range=True,  # rows without it are of a sweep that may have gone on
            seconds=statistics.median(times[1:]),
            ratio=statistics.median(ratios),
            ratio_least=min(ratios),
            ratio_most=max(ratios),
        )
