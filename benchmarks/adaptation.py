"""Rules that adapt the learning rate while training, from four starts, against the best rate of a grid.

    python -m benchmarks.adaptation [--settings NAME ...] [--seeds 0 1 2] [--contestants NAME ...]
        [--schedules alone line cosine triangular] [--workers 2] [--csv FILE]

Each contestant (`benchmarks.adaptation_contestants`) trains each setting of `benchmarks.suite` for 600 steps, with the
same batches and the same initial weights: without a schedule, and on top of a line to zero, a cosine to zero and
triangular cycles, of which the start is the peak (`benchmarks.suite.scheduled`). Rivals that do not look at the start
are run once for each seed.

The log gap compares the mean of the last 60 training losses with that of the best peak of a grid under the same
schedule: 0 is the best, 1 no better than untrained, or diverged (`benchmarks.suite.truth`). The columns:

* share: of runs with a log gap of at most 0.1, also for each start;
* mean, worst: log gap. A rival with another optimizer can be far below 0, so the mean without gains takes such a gap
  as 0;
* harm: among the runs that end with a log gap of at most 0.25 without adaptation, the share that ends worse than
  without it by more than 0.05;
* validation: the median gap of the validation loss, computed like the log gap. L* is then the validation loss of the
  best peak, which is trained as one of the contestants. Settings whose L* is above the loss before training have none.

The grids are those of runs of 600 steps, also where ``--steps`` says otherwise.

A run takes about a second on one core, one with a range test two. All of them are 10 700 runs, three hours on one core.
``--seeds 0 --schedules alone`` takes a quarter of an hour, and a few ``--settings`` of it a minute. With ``--csv`` a
comparison that was interrupted goes on where it was. The file does not know of changes to the code: take the lines of a
contestant that has changed out of it.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from statistics import fmean, median
from typing import NamedTuple

import numpy as np

from benchmarks.adaptation_contestants import CONTESTANTS, NOTHING, USUAL
from benchmarks.adaptation_runs import BEST, Results, Run, log_gap, results_of, setting_named
from benchmarks.argument_types import positive_count
from benchmarks.suite import GROUP_OF, GROUPS, SETTINGS
from benchmarks.suite.scheduled import SCHEDULES, truth_under
from benchmarks.suite.training import Ended
from benchmarks.suite.truth import STEPS, Truth

STARTS = (1e-6, 1e-4, 1e-2, 1.0)
_NEAR, _BAD, _BEGUN_NEAR = 0.1, 0.05, 0.25  # log gaps


class Row(NamedTuple):
    """A run, and how good it is.

    Attributes:
        run: what was trained.
        gap: log gap of the training loss.
        validation: gap of the validation loss, NaN if there is none.
        harm: log gap minus that of the same run without adaptation. None if that one did not end near the best.
    """

    run: Run
    gap: float
    validation: float
    harm: float | None


def runs_of(arguments: argparse.Namespace) -> list[Run]:
    """All runs. Those without adaptation are among them if another contestant has to be compared with them."""
    names = list(dict.fromkeys(arguments.contestants))
    if NOTHING not in names and any(CONTESTANTS[name].lr is None for name in names):
        names.insert(0, NOTHING)
    runs = []
    for setting, seed, schedule in product(arguments.settings, arguments.seeds, arguments.schedules):
        runs.append(Run(setting, seed, BEST, schedule, None, arguments.steps))
        for name in names:
            starts = arguments.starts if CONTESTANTS[name].lr is None else [None]
            runs += [Run(setting, seed, name, schedule, start, arguments.steps) for start in starts]
    return runs


def rows_of(runs: list[Run], results: Results) -> list[Row]:
    """How good each run is, given how all of them ended."""
    rows = []
    for run in runs:
        gap = log_gap(run, results[run])
        best = run._replace(contestant=BEST, start=None)
        plain = run._replace(contestant=NOTHING)
        harm = None
        if run.start is not None and run != plain:
            gap_of_plain = log_gap(plain, results[plain])
            harm = gap - gap_of_plain if gap_of_plain <= _BEGUN_NEAR else None
        rows.append(Row(run, gap, _validation_gap(run, results[run], results[best]), harm))
    return rows


def _validation_gap(run: Run, ended: Ended, best: Ended) -> float:
    initial = truth_under(run.setting, run.schedule).initial
    if not best.validation < initial:  # also if it is NaN
        return float("nan")
    truth = Truth(np.ones(1), np.array([best.validation]), initial)
    return truth.gap_of_loss(ended.validation).log


def _print_table(title: str, rows: list[Row], starts: Iterable[float]) -> None:
    """A line for each contestant."""
    print(f"\n{title}\n")
    names = [f"{start:g}" for start in starts]
    print(f"| | runs | share | mean | without gains | worst | {' | '.join(names)} | harm | validation |")
    print("|---|" + "---:|" * (7 + len(names)))
    for name in dict.fromkeys(row.run.contestant for row in rows):
        of_name = [row for row in rows if row.run.contestant == name]
        gaps = [row.gap for row in of_name]
        cells = [name, str(len(gaps)), _share(gaps), f"{fmean(gaps):.3f}"]
        cells += [f"{fmean(max(gap, 0.0) for gap in gaps):.3f}", f"{max(gaps):.2f}"]
        cells += [_share([row.gap for row in of_name if row.run.start == start]) for start in starts]
        harms = [row.harm for row in of_name if row.harm is not None]
        cells.append(f"{sum(harm > _BAD for harm in harms)} of {len(harms)}" if harms else "")
        validation = [row.validation for row in of_name if not math.isnan(row.validation)]
        cells.append(f"{median(validation):.3f}" if validation else "")
        print(f"| {' | '.join(cells)} |")


def _share(gaps: list[float]) -> str:
    return f"{fmean(gap <= _NEAR for gap in gaps):.2f}" if gaps else ""


def _print_settings(rows: list[Row], starts: Iterable[float]) -> None:
    """A line for each setting and schedule: the log gaps of each contestant, mean over seeds, one for each start."""
    print("Log gaps, mean over the seeds, one for each start:\n")
    names = list(dict.fromkeys(row.run.contestant for row in rows))
    print(f"| setting | optimizer | schedule | {' | '.join(names)} |")
    print("|---|---|---|" + "---|" * len(names))
    for setting, schedule in dict.fromkeys((row.run.setting, row.run.schedule) for row in rows):
        cells = [setting, setting_named(setting).optimizer, schedule]
        part = [row for row in rows if (row.run.setting, row.run.schedule) == (setting, schedule)]
        for name in names:
            of_name = [row for row in part if row.run.contestant == name]
            of_starts = [[row.gap for row in of_name if row.run.start == start] for start in (None, *starts)]
            cells.append(" / ".join(f"{fmean(gaps):.2f}" for gaps in of_starts if gaps))
        print(f"| {' | '.join(cells)} |")


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The choices of the command line, without the contestants whose packages are not installed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS), metavar="NAME")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--contestants", nargs="+", choices=CONTESTANTS, default=USUAL, metavar="NAME", help=", ".join(CONTESTANTS)
    )
    parser.add_argument("--schedules", nargs="+", choices=SCHEDULES, default=list(SCHEDULES))
    parser.add_argument("--starts", type=float, nargs="+", default=list(STARTS))
    parser.add_argument("--steps", type=positive_count, default=STEPS)
    parser.add_argument("--workers", type=positive_count, default=1)
    parser.add_argument("--csv", type=Path, help="file for all runs; those that it holds already are not made again")
    arguments = parser.parse_args(words)
    for name in [name for name in arguments.contestants if not CONTESTANTS[name].is_installed]:
        print(f"{name} is left out: {CONTESTANTS[name].package} is not installed.", file=sys.stderr)
        arguments.contestants = [each for each in arguments.contestants if each != name]
    return arguments


def main() -> None:
    arguments = parse_arguments()
    runs = runs_of(arguments)
    rows = rows_of(runs, results_of(runs, arguments.workers, arguments.csv))
    _print_settings(rows, arguments.starts)
    for schedule in arguments.schedules:
        part = [row for row in rows if row.run.schedule == schedule]
        for group in GROUPS:
            if of_group := [row for row in part if GROUP_OF[row.run.setting] == group]:
                _print_table(f"{group.capitalize()}, {schedule}", of_group, arguments.starts)
        _print_table(f"All settings, {schedule}", part, arguments.starts)


if __name__ == "__main__":
    main()
