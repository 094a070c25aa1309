"""Records the final losses of the settings of the suite under a line, a cosine and triangular cycles.

    python -m benchmarks.suite.record_schedules [--settings NAME ...] [--output FILE]

For each setting the file holds, with S seeds and N peaks:

* ``<setting>/<schedule>/lr``: peaks of the schedule, shape [N];
* ``<setting>/<schedule>/loss``: final losses, infinite where a training diverged, shape [S, N].

The peaks are quarter decades from a tenth of the best constant rate to a hundred times that. Settings that the file
holds already are replaced, the others are kept. All settings take about twenty minutes on one core.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.suite import SETTINGS
from benchmarks.suite.engine import train_copies
from benchmarks.suite.scheduled import PATH, RECORDED, factor
from benchmarks.suite.setting import Setting
from benchmarks.suite.truth import STEPS, final_losses, truth_of
from lightning_lr.range_test.smoothing import Array

PEAKS_PER_BEST = 10 ** np.arange(-1, 2.01, 0.25)


def record(setting: Setting, seeds: list[int]) -> dict[str, Array]:
    """The arrays of one setting."""
    arrays: dict[str, Array] = {}
    peaks = truth_of(setting.name)["constant"].best_lr * PEAKS_PER_BEST
    for schedule in RECORDED:
        factors = np.array([factor(schedule, step, STEPS) for step in range(STEPS)])
        lrs = np.concatenate([peaks[:, None] * factors] * len(seeds))
        losses = train_copies(setting, lrs, [seed for seed in seeds for _ in peaks])
        arrays[f"{setting.name}/{schedule}/lr"] = peaks
        arrays[f"{setting.name}/{schedule}/loss"] = final_losses(losses).reshape(len(seeds), len(peaks))
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
