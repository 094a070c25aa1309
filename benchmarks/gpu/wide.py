"""Suggestions and adaptation on settings of `benchmarks.suite`, ten times as wide, for 5000 steps, against a grid.

The grid of constant rates is trained at once, on the device. Meanwhile the contestants train with a real Trainer, each
in a process with one core. Gaps are those of `benchmarks.suite.truth`; nothing was chosen on these settings.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback
from torch import nn

from benchmarks.gpu.record import Record
from benchmarks.suite import SETTINGS
from benchmarks.suite.engine import train_copies
from benchmarks.suite.setting import Setting, mlp
from benchmarks.suite.training import Ended, train
from benchmarks.suite.truth import Truth, final_losses
from lightning_lr import HypergradientLR, LRRangeTest

_SEED = 0
_SECONDS = 100.0  # for all trainings
# The networks of these settings, with ten times the width.
_WIDE: dict[str, Callable[[], nn.Module]] = {
    "regression": lambda: mlp(4, 640, 640, 1, activation=nn.Tanh),
    "cancer_drop": lambda: mlp(30, 480, 480, 2, dropout=0.3),
    "dropout_mlp": lambda: nn.Sequential(nn.Flatten(), mlp(64, 640, 640, 10, dropout=0.2)),
}
_Job = tuple[str, str, float, int]  # setting, contestant, first learning rate, steps
_CONTESTANTS: dict[str, tuple[Callable[[], list[Callback]], tuple[float, ...]]] = {
    "LRRangeTest": (lambda: [LRRangeTest()], (1e-3,)),
    "HypergradientLR": (lambda: [HypergradientLR()], (1e-6, 1e-4, 1e-2, 1.0)),
}


def measure(record: Record, device: torch.device, *, is_tiny: bool) -> None:
    """Add a row for the grid of each setting, and one for each training of a contestant."""
    names, steps, rates = (["regression"], 60, 3) if is_tiny else ([*_WIDE], 5000, 25)
    jobs = [
        (name, contestant, lr, steps)
        for name in names
        for contestant, (_, starts) in _CONTESTANTS.items()
        for lr in (starts[:1] if is_tiny else starts)
    ]
    grid = np.geomspace(1e-5, 10.0, rates)
    with _trainings(jobs, in_processes=not is_tiny) as trainings:
        truths = {}
        for name in names:
            start = time.perf_counter()
            losses = train_copies(_setting(name), np.tile(grid[:, None], steps), [_SEED] * rates, device=device)
            truth = truths[name] = Truth(grid, final_losses(losses), float(losses[:, 0].mean()))
            final = dict(zip(map("{:.3g}".format, grid), truth.losses.tolist(), strict=True))
            seconds = time.perf_counter() - start
            record.add("wide, grid", setting=name, best_lr=truth.best_lr, seconds=seconds, losses=final)
        for (name, contestant, lr, _), ended in trainings:
            gap = truths[name].gap_of_loss(ended.loss)
            best = float(truths[name].losses.min())
            values = {"log_gap": gap.log, "linear_gap": gap.linear, "loss": ended.loss, "best_of_grid": best}
            record.add("wide", setting=name, contestant=contestant, start=lr, **values)


@contextmanager
def _trainings(jobs: list[_Job], *, in_processes: bool) -> Iterator[Iterator[tuple[_Job, Ended]]]:
    """The results of jobs, as they are known, each in a process of its own but one for each core."""
    if not in_processes:
        yield map(_train, jobs)
        return
    os.environ["OMP_NUM_THREADS"] = "1"  # read by the processes
    workers = max(1, (os.cpu_count() or 2) - 1)
    with multiprocessing.get_context("spawn").Pool(workers) as pool:  # its end stops what still runs
        yield _until(time.monotonic() + _SECONDS, pool.imap_unordered(_train, jobs), len(jobs))


def _until(end: float, results: Any, count: int) -> Iterator[tuple[_Job, Ended]]:
    for _ in range(count):
        yield results.next(max(0.0, end - time.monotonic()))


def _train(job: _Job) -> tuple[_Job, Ended]:
    name, contestant, lr, steps = job
    callbacks, _ = _CONTESTANTS[contestant]
    return job, train(_setting(name), _SEED, lr, "alone", steps, callbacks, finds_lr=contestant == "LRRangeTest")


def _setting(name: str) -> Setting:
    return replace(SETTINGS[name](), build=_WIDE[name])
