"""The targets of the workloads: a validation loss that a tuned NadamW reaches with each of three seeds.

    python -m benchmarks.targets [--workloads NAME ...] [--length 1]

NadamW has a warm-up and a cosine. Its learning rate is the one with the lowest validation loss of a run of
`benchmarks.workloads.STEPS` times the length, of a grid that grows while the best one lies at an end. Two more seeds
are then run with it. The target is the highest of the three losses. The seeds are not those that contestants run with.
The result, ``results/targets.json``, is kept: `benchmarks.score` reads it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch

from benchmarks.raw_results import load, save
from benchmarks.workloads import STEPS, WORKLOADS
from benchmarks.workloads.run import EVALUATIONS, Run

FIRST_LRS = (3e-3, 1e-2, 3e-2)
_HALF_DECADE = 10**0.5
SEEDS = (100, 101, 102)


def tuned(name: str, length: int) -> dict[str, Any]:
    """The learning rate of NadamW on a workload, and the target."""
    setting, steps = WORKLOADS[name](), length * STEPS[name]

    @cache
    def best_loss(lr: float, seed: int) -> float:
        run = Run(setting, seed, steps, steps // EVALUATIONS)
        run.fit(lr, "warm-up and cosine")
        return run.best

    lr, tried = best_of_growing_grid(lambda lr: best_loss(lr, SEEDS[0]), FIRST_LRS)
    of_seeds = [best_loss(lr, seed) for seed in SEEDS]
    torch.manual_seed(0)
    initial = setting.validation_loss(setting.build())
    row = {"workload": name, "length": length, "steps": steps, "lr": lr, "target": max(of_seeds), "initial": initial}
    return {**row, "lrs": list(tried), "losses_of_lrs": list(tried.values()), "losses_of_seeds": of_seeds}


def best_of_growing_grid(
    loss: Callable[[float], float], first_lrs: Sequence[float]
) -> tuple[float, dict[float, float]]:
    """The learning rate with the lowest loss, and the loss of each. The grid goes on in steps of half a decade."""
    losses = {lr: loss(lr) for lr in sorted(first_lrs)}
    while True:
        best = min(losses, key=losses.__getitem__)
        if min(losses) < best < max(losses):
            return best, dict(sorted(losses.items()))
        factor = _HALF_DECADE if best == max(losses) else 1 / _HALF_DECADE
        lr = float(f"{best * factor:.1g}")
        losses[lr] = loss(lr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS), metavar="NAME")
    parser.add_argument("--length", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.workloads:
        row = tuned(name, arguments.length)
        print(row, flush=True)
        kept = [each for each in load("targets")["rows"] if (each["workload"], each["length"]) != (name, row["length"])]
        save("targets", [*kept, row], seeds=list(SEEDS))


if __name__ == "__main__":
    main()
