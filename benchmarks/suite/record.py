"""Records the final losses of the settings of the suite, for a grid of learning rates and three schedules.

    python -m benchmarks.suite.record [--settings NAME ...] [--output FILE]

For each setting the file holds, with S seeds and N learning rates:

* ``<setting>/<schedule>/lr``: learning rates, or peaks of the schedule, shape [N];
* ``<setting>/<schedule>/loss``: final losses, infinite where a training diverged, shape [S, N];
* ``<setting>/initial``: mean of the first three losses with the lowest constant rate, shape [S].

Settings that the file holds already are replaced, the others are kept. All settings take about an hour on one core, the
small tasks (``digits/sgd`` and so on) a quarter of it. The file in the repository has three seeds for constant rates of
the settings from ``gpt`` to ``fasttext``, and two for all others. It was recorded with Python 3.11.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.suite import SETTINGS
from benchmarks.suite.engine import train_copies
from benchmarks.suite.setting import Setting
from benchmarks.suite.truth import PATH, SCHEDULES, STEPS, ScheduleName, final_losses
from lightning_lr.range_test.smoothing import Array

PEAKS = 10 ** np.arange(-5, 1.76, 0.25)  # quarter decades
CONSTANT_LRS = 10 ** np.arange(-6, 1.76, 0.125)  # eighths of a decade
_INITIAL_STEPS = 3
_SIZE = 75  # steps of half a cycle of triangular2
_BASE_PER_PEAK = 1 / 4  # of triangular2


def constant(peak: float, steps: int = STEPS) -> Array:
    return np.full(steps, peak)


def triangular2(peak: float) -> Array:
    """Cycles from a quarter of the peak to the peak. The amplitude is halved after each."""
    steps = np.arange(STEPS)
    cycles = steps // (2 * _SIZE)
    rise = 1 - np.abs(2 * (steps % (2 * _SIZE)) / (2 * _SIZE) - 1)
    base = peak * _BASE_PER_PEAK
    return base + (peak - base) * rise * 0.5**cycles


def one_cycle(peak: float, steps: int = STEPS) -> Array:
    """As torch's OneCycleLR with its defaults: up in 0.3 of the steps, down to zero in the others, along cosines."""
    module = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(module.parameters(), peak)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, total_steps=steps, cycle_momentum=False)
    lrs = []
    for _ in range(steps):
        lrs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if len(lrs) < steps:
            scheduler.step()
    return np.array(lrs)


LRS: dict[ScheduleName, Callable[[float], Array]] = {
    "constant": constant,
    "triangular2": triangular2,
    "one_cycle": one_cycle,
}


def record(setting: Setting, seeds: list[int]) -> dict[str, Array]:
    """The arrays of one setting."""
    arrays: dict[str, Array] = {}
    for schedule in SCHEDULES:
        peaks = CONSTANT_LRS if schedule == "constant" else PEAKS
        lrs = np.array([LRS[schedule](peak) for peak in peaks])
        # All seeds at once would be as fast and take more memory.
        losses = [train_copies(setting, lrs, [seed] * len(lrs)) for seed in seeds]
        arrays[f"{setting.name}/{schedule}/lr"] = peaks
        arrays[f"{setting.name}/{schedule}/loss"] = np.array([final_losses(each) for each in losses])
        if schedule == "constant":
            arrays[f"{setting.name}/initial"] = np.array([each[0, :_INITIAL_STEPS].mean() for each in losses])
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS), metavar="NAME")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--output", type=Path, default=PATH)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # the models are so small that a second thread only costs
    arrays = dict(np.load(arguments.output)) if arguments.output.exists() else {}
    for name in arguments.settings:
        started = time.monotonic()
        arrays |= record(SETTINGS[name](), arguments.seeds)
        np.savez_compressed(arguments.output, **arrays)
        print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
