"""`HypergradientLR` in longer runs, against the best learning rate of a grid for runs of that length.

    python -m benchmarks.adaptation_lengths [--settings NAME ...] [--steps 600 1500 5000] [--schedules alone]

For each setting and length all rates of a grid are trained at once, quarter decades around the best one of runs of
600 steps. Then `HypergradientLR` trains from each start. The final loss is the mean of the last 60 steps at any length.
The log gap is 0 for the best of the grid, and 1 for no learning (`benchmarks.suite.truth`).

The six settings are fast, and of different kinds. With one seed they take a quarter of an hour on one core.
"""

from __future__ import annotations

import argparse
from itertools import product

import numpy as np
import torch

from benchmarks.adaptation_contestants import CONTESTANTS
from benchmarks.argument_types import positive_count
from benchmarks.suite import SETTINGS
from benchmarks.suite.engine import train_copies
from benchmarks.suite.scheduled import SCHEDULES, Schedule, factor, truth_under
from benchmarks.suite.training import train
from benchmarks.suite.truth import Truth, final_losses

_SETTINGS = ("regression", "bn_mlp", "logistic", "tagger_gru", "dropout_mlp", "residual/adam")
_STEPS = (600, 1500, 5000)
_STARTS = (1e-6, 1e-2)
_PER_BEST = 10 ** (np.arange(-6, 7) / 4)


def truth(name: str, seed: int, schedule: Schedule, steps: int) -> Truth:
    """The final losses of the grid in runs of so many steps."""
    of_600_steps = truth_under(name, schedule)
    peaks = of_600_steps.best_lr * _PER_BEST
    factors = np.array([factor(schedule, step, steps) for step in range(steps)])
    losses = train_copies(SETTINGS[name](), peaks[:, None] * factors, [seed] * len(peaks))
    return Truth(peaks, final_losses(losses), of_600_steps.initial)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=_SETTINGS, metavar="NAME")
    parser.add_argument("--steps", type=positive_count, nargs="+", default=_STEPS)
    parser.add_argument("--schedules", nargs="+", choices=SCHEDULES, default=["alone"])
    parser.add_argument("--starts", type=float, nargs="+", default=_STARTS)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # the models are so small that a second thread only costs
    contestant = CONTESTANTS["HypergradientLR"]
    starts = ", ".join(f"{start:g}" for start in arguments.starts)
    print(f"Log gaps from {starts}. In brackets: the best rate of the grid.\n")
    print(f"| setting | schedule | {' | '.join(f'{steps} steps' for steps in arguments.steps)} |")
    print("|---|---|" + "---|" * len(arguments.steps))
    for name, schedule in product(arguments.settings, arguments.schedules):
        cells = []
        for steps in arguments.steps:
            best = truth(name, arguments.seed, schedule, steps)
            ends = [
                train(SETTINGS[name](), arguments.seed, start, schedule, steps, contestant.callbacks)
                for start in arguments.starts
            ]
            gaps = ", ".join(f"{best.gap_of_loss(ended.loss).log:.2f}" for ended in ends)
            cells.append(f"{gaps} ({best.best_lr:.2g})")
        print(f"| {name} | {schedule} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
