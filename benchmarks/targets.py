"""The targets of the workloads: a validation loss that a tuned NadamW reaches with each of three seeds.

    python -m benchmarks.targets [--workloads NAME ...]

NadamW has a warm-up and a cosine. Its learning rate is the best of a grid, by the lowest validation loss of a run of
`benchmarks.workloads.STEPS`. Two more seeds are then run with it. The target is the highest of the three losses. The
seeds are not those that contestants run with. The result, ``results/targets.json``, is kept: `benchmarks.score` reads
it.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch

from benchmarks.raw_results import load, save
from benchmarks.suite.setting import Setting
from benchmarks.workloads import STEPS, WORKLOADS
from benchmarks.workloads.run import EVALUATIONS, Run

LRS = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
SEEDS = (100, 101, 102)


def best_loss(setting: Setting, seed: int, lr: float, steps: int) -> float:
    """The lowest validation loss of NadamW with a warm-up and a cosine."""
    run = Run(setting, seed, steps, steps // EVALUATIONS)
    run.fit(lr, "warm-up and cosine")
    return run.best


def tuned(name: str) -> dict[str, Any]:
    """The learning rate of NadamW on a workload, and the target."""
    setting, steps = WORKLOADS[name](), STEPS[name]
    losses = [best_loss(setting, SEEDS[0], lr, steps) for lr in LRS]
    best = losses.index(min(losses))
    of_seeds = [losses[best], *(best_loss(setting, seed, LRS[best], steps) for seed in SEEDS[1:])]
    torch.manual_seed(0)
    initial = setting.validation_loss(setting.build())
    row = {"workload": name, "steps": steps, "lr": LRS[best], "target": max(of_seeds), "initial": initial}
    return {**row, "losses_of_lrs": losses, "losses_of_seeds": of_seeds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS), metavar="NAME")
    torch.set_num_threads(1)
    for name in parser.parse_args().workloads:
        row = tuned(name)
        print(row, flush=True)
        rows = [each for each in load("targets")["rows"] if each["workload"] != name]
        save("targets", [*rows, row], lrs=list(LRS), seeds=list(SEEDS))


if __name__ == "__main__":
    main()
