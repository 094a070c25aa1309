"""What a learning rate that was found in 100 to 1500 steps is worth after 20 000.

    python -m benchmarks.long_runs [--workloads NAME ...] [--seeds 0] [--lengths 20000] [--workers 1]
        [--anew]

AdamW trains three workloads of `benchmarks.workloads` with each rate of a grid, all copies at once, with a constant
rate and with one cycle. Each finder then looks for a rate for a run of this length. Its log gap is read off the grid:
0 is the best of the grid, 1 no better than untrained (`benchmarks.suite.truth`). The final loss is the mean training
loss of the last twentieth. The steps of the finders are given, but not taken off the run.

A run (workload, seed and steps) that is in the file is not made again, unless ``--anew`` is given.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning.pytorch.callbacks import LearningRateFinder

from benchmarks.argument_types import positive_count
from benchmarks.processes import processes
from benchmarks.raw_results import load, save
from benchmarks.rival_rules import fastai_valley
from benchmarks.suite.engine import train_copies
from benchmarks.suite.finders import find
from benchmarks.suite.optimizers import one
from benchmarks.suite.record import constant, one_cycle
from benchmarks.suite.setting import Setting
from benchmarks.suite.truth import Truth
from benchmarks.workloads import WORKLOADS
from benchmarks.workloads.optimizers import WEIGHT_DECAY
from lightning_lr import LRRangeTest, LRSearch

TINY = ("clicks", "molecules", "series")
STEPS = 20_000
LRS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
SCHEDULES = {"constant": constant, "one cycle": one_cycle}
_FINAL_SHARE = 0.05  # of the steps, whose mean loss is the final loss
_INITIAL_STEPS = 3
_ADAMW = one(torch.optim.AdamW, weight_decay=WEIGHT_DECAY)
Row = dict[str, Any]
Key = tuple[str, int, int]  # workload, seed, steps


class Found(NamedTuple):
    """What a finder suggests: the constant rate, the peak of one cycle, and its steps."""

    name: str
    lr: float
    max_lr: float
    steps: int


def truths(setting: Setting, seed: int, steps: int) -> dict[str, Truth]:
    """The final losses of the grid under each schedule."""
    rates = np.array([schedule(lr, steps) for schedule in SCHEDULES.values() for lr in LRS])
    losses = train_copies(setting, rates, [seed] * len(rates))
    final = losses[:, -max(1, round(_FINAL_SHARE * steps)) :].mean(1)
    final = np.where(np.isfinite(final), final, np.inf).reshape(len(SCHEDULES), len(LRS))
    initial = float(losses[0, :_INITIAL_STEPS].mean())
    return {
        name: Truth(np.array(LRS), of_schedule, initial) for name, of_schedule in zip(SCHEDULES, final, strict=True)
    }


def finds(setting: Setting, seed: int, steps: int) -> Iterator[Found]:
    """What each finder suggests for a run of so many steps."""
    test, taken = find(setting, seed, LRRangeTest(), steps)
    assert test.result is not None
    assert test.result.search is not None
    best = test.result.search.candidates[0].lr
    yield Found("LRRangeTest", test.result.lr, test.result.one_cycle_max_lr, taken)
    yield Found("LRRangeTest, best of its trials", best, best, taken)
    search, taken = find(setting, seed, LRSearch(), steps)
    assert search.result is not None
    yield Found("LRSearch", search.result.lr, search.result.one_cycle_max_lr, taken)
    sweep, taken = find(setting, seed, LRRangeTest(verify=False), steps)
    assert sweep.result is not None
    yield Found("LRRangeTest(verify=False)", sweep.result.lr, sweep.result.one_cycle_max_lr, taken)
    valley = fastai_valley(sweep.result.curve.lrs, sweep.result.curve.losses)
    if valley is not None:
        yield Found("fastai's lr_find (valley)", valley, valley, taken)
    lightning, taken = find(setting, seed, LearningRateFinder(), steps)
    lr = None if lightning.optimal_lr is None else lightning.optimal_lr.suggestion()
    if lr is not None:
        yield Found("Lightning's LearningRateFinder", lr, lr, taken)


def rows_of(workload: str, seed: int, steps: int) -> list[Row]:
    """The losses of the grid and the gaps of the finders on one workload."""
    setting = replace(WORKLOADS[workload](), optimizer="adamw", optimizers=_ADAMW)
    where = {"workload": workload, "seed": seed, "steps": steps}
    grid = truths(setting, seed, steps)
    rows: list[Row] = [
        {**where, "kind": "grid", "schedule": schedule, "lr": lr, "loss": loss}
        for schedule, truth in grid.items()
        for lr, loss in zip(LRS, truth.losses.tolist(), strict=True)
    ]
    for each in finds(setting, seed, steps):
        gaps = {"constant": _gap(grid["constant"], each.lr), "one cycle": _gap(grid["one cycle"], each.max_lr)}
        found = {"name": each.name, "lr": each.lr, "max_lr": each.max_lr, "steps_to_find": each.steps}
        rows.append({**where, "kind": "found", **found, **{f"gap {name}": gap for name, gap in gaps.items()}})
    return rows


def _gap(truth: Truth, lr: float) -> float:
    """Log gap of a rate. Beyond the grid it is that of its end."""
    return truth.gap(lr).log


def keys_of(lengths: Sequence[int], seeds: Sequence[int], workloads: Sequence[str] = TINY) -> list[Key]:
    """The runs of these workloads, in turn."""
    return list(product(workloads, seeds, lengths))


def start(keys: Sequence[Key], pool: Executor, anew: bool = False) -> list[Future[list[Row]]]:
    """Begin the runs that are not in the file. Each is added to it when it ends, also if another one fails.

    With ``anew`` the first run that ends takes the place of what is in the file.
    """
    rows: list[Row] = [] if anew else load("long_runs")["rows"]
    known = {(row["workload"], row["seed"], row["steps"]) for row in rows}

    def keep(ended: Future[list[Row]]) -> None:
        if not ended.cancelled() and ended.exception() is None:
            rows.extend(ended.result())
            save("long_runs", rows)
            print(*(rows[-1][name] for name in ("workload", "seed", "steps")), "done", flush=True)

    futures = [pool.submit(rows_of, *key) for key in keys if key not in known]
    for future in futures:
        future.add_done_callback(keep)
    return futures


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(TINY), metavar="NAME")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--lengths", type=positive_count, nargs="+", default=[STEPS], help="steps of the runs")
    parser.add_argument("--workers", type=positive_count, default=1)
    parser.add_argument("--anew", action="store_true", help="discard the file and make these runs again")
    arguments = parser.parse_args(words)
    keys = keys_of(arguments.lengths, arguments.seeds, arguments.workloads)
    with processes(arguments.workers) as pool:
        for each in start(keys, pool, arguments.anew):
            each.result()


if __name__ == "__main__":
    main()
