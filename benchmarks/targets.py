"""The targets of the workloads: a validation loss that a tuned NadamW reaches with each of three seeds.

    python -m benchmarks.targets [--workloads NAME ...] [--length 1] [--workers 1]

NadamW has a warm-up and a cosine. Its learning rate is the one with the lowest validation loss of a run of
`benchmarks.workloads.STEPS` times the length, of a grid that grows while the best one lies at an end. Two more seeds
are then run with it. The target is the highest of the three losses. The seeds are not those that contestants run with.
The result, ``results/targets.json``, is kept: `benchmarks.score` reads it, and makes the runs to a new target again.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from concurrent.futures import as_completed
from functools import cache
from typing import Any

import torch

from benchmarks.argument_types import positive_count
from benchmarks.processes import processes
from benchmarks.raw_results import load, save
from benchmarks.workloads import STEPS, WORKLOADS
from benchmarks.workloads.run import EVALUATIONS, Run

GRID = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
_FIRST = (5, 7)  # the first and the last place that is tried before the grid grows
SEEDS = (100, 101, 102)


def tuned(name: str, length: int) -> dict[str, Any]:
    """The learning rate of NadamW on a workload, and the target."""
    setting, steps = WORKLOADS[name](), length * STEPS[name]

    @cache
    def best_loss(lr: float, seed: int) -> float:
        run = Run(setting, seed, steps, steps // EVALUATIONS)
        run.fit(lr, "warm-up and cosine")
        return run.best

    lr, tried = best_of_growing_grid(lambda lr: best_loss(lr, SEEDS[0]))
    of_seeds = [best_loss(lr, seed) for seed in SEEDS]
    torch.manual_seed(0)
    initial = setting.validation_loss(setting.build())
    row = {"workload": name, "length": length, "steps": steps, "lr": lr, "target": max(of_seeds), "initial": initial}
    return {**row, "lrs": list(tried), "losses_of_lrs": list(tried.values()), "losses_of_seeds": of_seeds}


def best_of_growing_grid(loss: Callable[[float], float]) -> tuple[float, dict[float, float]]:
    """The learning rate with the lowest loss, and the loss of each that was tried. Begins in the middle of the grid."""
    first, last = _FIRST
    losses = {place: loss(GRID[place]) for place in range(first, last + 1)}
    best = min(losses, key=losses.__getitem__)
    while best in (min(losses), max(losses)) and 0 < best < len(GRID) - 1:
        place = best - 1 if best == min(losses) else best + 1
        losses[place] = loss(GRID[place])
        best = min(losses, key=losses.__getitem__)
    return GRID[best], {GRID[place]: losses[place] for place in sorted(losses)}


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS), metavar="NAME")
    parser.add_argument("--length", type=positive_count, default=1)
    parser.add_argument("--workers", type=positive_count, default=1)
    arguments = parser.parse_args(words)
    with processes(arguments.workers) as pool:
        for future in as_completed([pool.submit(tuned, name, arguments.length) for name in arguments.workloads]):
            row = future.result()
            print(row, flush=True)
            rows = {(each["length"], each["workload"]): each for each in [*load("targets")["rows"], row]}
            save("targets", [rows[key] for key in sorted(rows)], seeds=list(SEEDS))


if __name__ == "__main__":
    main()
