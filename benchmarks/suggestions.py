"""How good the suggested learning rates are on small settings of today, for this package and for others.

    python -m benchmarks.suggestions [--settings NAME ...] [--seeds 0 1 2] [--contestants NAME ...] [--workers 2]

Each contestant suggests a learning rate at the start of a run of 600 steps (`benchmarks.suite.contestants`). Its
constant rate, its peak for triangular2 and its peak for one cycle are then looked up in trainings with a grid of rates
that were recorded once (`benchmarks.suite.truth`, which defines the gaps: 0 is the best, 1 no better than untrained).

Random search, grid and TPE spend the median of the steps of LRRangeTest, or ``--budget``. All contestants on all
settings take about ten minutes on one core for each seed.

Rules and constants of the package, and the lengths of its trials, were chosen with all settings in view. So no total is
one of unused settings. Totals are given for each group of settings (`benchmarks.suite.GROUPS`) and for all. A further
row of the totals judges LRRangeTest with constants that are chosen for each task on all others
(`benchmarks.suite.leave_one_out`).
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter
from collections.abc import Iterable
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from statistics import fmean, median

from benchmarks.argument_types import positive_count
from benchmarks.rival_rules import RIVALS
from benchmarks.suggestions_rows import Row, all_rows, gaps_of
from benchmarks.suite import GROUPS, SETTINGS
from benchmarks.suite.contestants import CONTESTANTS, RANGE_TEST, SEARCHES, USUAL_RIVALS, Found
from benchmarks.suite.leave_one_out import (
    BestTrials,
    Constants,
    Run,
    choose_without_each,
    suggested_lr,
    suggested_max_lr,
    task_of,
)
from benchmarks.suite.truth import SCHEDULES, Gap, truth_of

_ALL = [*CONTESTANTS, *SEARCHES]
_DEFAULT = [name for name in _ALL if name not in RIVALS or name in USUAL_RIVALS]
_LEFT_OUT = f"{RANGE_TEST}, constants chosen without the task"
_BAD_GAPS = (0.25, 0.3)  # the share of suggestions with a log gap above these is given


def _chosen_without_each(rows: list[Row]) -> dict[str, Constants]:
    """For each task, the constants that are chosen on the runs of LRRangeTest on all others. Empty for one task."""
    runs = [Run(row.setting, row.best) for row in rows if row.contestant == RANGE_TEST and row.best is not None]
    has_others = len({task_of(run.setting) for run in runs}) > 1
    return choose_without_each(runs) if has_others else {}


def _left_out_rows(rows: list[Row], chosen: dict[str, Constants]) -> list[Row]:
    """The suggestions of LRRangeTest with these constants instead of those of the package."""
    left_out = []
    for row in rows:
        if row.contestant == RANGE_TEST and row.best is not None:
            constants = chosen[task_of(row.setting)]
            max_lr = suggested_max_lr(row.best, constants.max_lr_per_middle)
            found = Found(
                suggested_lr(row.best, constants.exponent, constants.share), max_lr, max_lr, row.steps, best=row.best
            )
            left_out.append(row._replace(contestant=_LEFT_OUT, found=found, gaps=gaps_of(row.setting, found)))
    return left_out


def _print_settings(rows: list[Row], contestants: Iterable[str]) -> None:
    """A line for each setting: the log gaps of each contestant under the three schedules, mean over seeds."""
    print(
        "Log gaps: constant / triangular2 / one cycle. Before them, the best constant rate, and of the first contestant"
    )
    print("the rate for each seed (? where it is not confident) and the median of its steps.\n")
    names = list(contestants)
    print(f"| setting | optimizer | best lr | {names[0]} | steps | " + " | ".join(names) + " |")
    print("|---|---|---|---|---|" + "---|" * len(names))
    for setting, group in groupby(rows, key=lambda row: row.setting):
        of_setting = list(group)
        first = [row for row in of_setting if row.contestant == names[0]]
        lrs = ", ".join(_lr_text(row.found) for row in first)
        cells = []
        for name in names:
            of_name = [row for row in of_setting if row.contestant == name]
            cells.append(" / ".join(f"{fmean(row.gaps[each].log for row in of_name):.2f}" for each in SCHEDULES))
        best, steps = truth_of(setting)["constant"].best_lr, median(row.steps for row in first)
        columns = [setting, first[0].optimizer, f"{best:.1e}", lrs, f"{steps:.0f}", *cells]
        print(f"| {' | '.join(columns)} |")


def _lr_text(found: Found | None) -> str:
    return "none" if found is None else f"{found.lr:.1e}" + ("?" if found.confident is False else "")


def _print_totals(title: str, rows: list[Row], contestants: Iterable[str]) -> None:
    """A line for each contestant, and one for its confident suggestions."""
    print(f"\n{title}. Log gap: mean (worst). Linear gap and shares: of the constant rate.\n")
    shares = " | ".join(f"above {gap}" for gap in _BAD_GAPS)
    print(f"| | runs | {' | '.join(SCHEDULES)} | linear | {shares} | steps, median | most |")
    print("|---|" + "---:|" * (7 + len(_BAD_GAPS)))
    for name in contestants:
        of_name = [row for row in rows if row.contestant == name]
        _print_total(name, of_name)
        confident = [row for row in of_name if row.found is not None and row.found.confident]
        if any(row.found is not None and row.found.confident is not None for row in of_name):
            _print_total(f"{name}, confident", confident)


def _print_total(name: str, rows: list[Row]) -> None:
    if not rows:
        print(f"| {name} | 0 |" + " |" * (6 + len(_BAD_GAPS)))
        return
    cells = [name, str(len(rows))]
    for schedule in SCHEDULES:
        gaps = [row.gaps[schedule].log for row in rows]
        cells.append(f"{fmean(gaps):.3f} ({max(gaps):.2f})")
    constant = [row.gaps["constant"] for row in rows]
    cells.append(f"{fmean(gap.linear for gap in constant):.3f}")
    cells += [f"{fmean(gap.log > bad for gap in constant):.0%}" for bad in _BAD_GAPS]
    steps = [row.steps for row in rows]
    print(f"| {' | '.join([*cells, f'{median(steps):.0f}', str(max(steps))])} |")


def _print_chosen(chosen: dict[str, Constants]) -> None:
    """How many tasks each choice of constants was made for."""
    print("\nConstants chosen without the task, and for how many tasks:\n")
    print("| length exponent, normalized updates | share of the middle, others | max_lr per middle | tasks |")
    print("|---|---|---|---|")
    for constants, count in Counter(chosen.values()).most_common():
        print(f"| {' | '.join(f'{value:g}' for value in constants)} | {count} |")


def _write_csv(path: Path, rows: list[Row]) -> None:
    """One line for each suggestion."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        gaps = [f"{measure}_gap_{schedule}" for schedule in SCHEDULES for measure in Gap._fields]
        found_fields = [*Found._fields[:-1], *(f"best_{field}" for field in BestTrials._fields)]
        writer.writerow(["setting", "optimizer", "group", "seed", "contestant", *found_fields, *gaps])
        for row in rows:
            found = [None] * (len(Found._fields) - 1) if row.found is None else row.found[:-1]
            best = [None] * len(BestTrials._fields) if row.best is None else row.best
            values = [value for schedule in SCHEDULES for value in row.gaps[schedule]]
            writer.writerow([row.setting, row.optimizer, row.group, row.seed, row.contestant, *found, *best, *values])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS), metavar="NAME")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument(
        "--contestants", nargs="+", choices=_ALL, default=_DEFAULT, metavar="NAME", help=", ".join(_ALL)
    )
    parser.add_argument("--budget", type=int, help="steps of random, grid and TPE; default: the median of LRRangeTest")
    parser.add_argument("--csv", type=Path, help="file for all suggestions")
    parser.add_argument("--workers", type=positive_count, default=1)
    arguments = parser.parse_args()
    if "TPE" in arguments.contestants and find_spec("optuna") is None:
        print("TPE is left out: optuna is not installed.", file=sys.stderr)
        arguments.contestants.remove("TPE")
    if not arguments.contestants:
        parser.error("no contestant is left.")
    is_searched = any(name in SEARCHES for name in arguments.contestants)
    if is_searched and arguments.budget is None and RANGE_TEST not in arguments.contestants:
        parser.error(f"--budget is needed for {', '.join(SEARCHES)} if {RANGE_TEST} is not among --contestants.")
    return arguments


def main() -> None:
    arguments = _arguments()
    rows = all_rows(arguments)
    _print_settings(rows, arguments.contestants)
    contestants = list(arguments.contestants)
    chosen = _chosen_without_each(rows)
    if chosen:
        rows += _left_out_rows(rows, chosen)
        contestants.insert(contestants.index(RANGE_TEST) + 1, _LEFT_OUT)
    if arguments.csv is not None:
        _write_csv(arguments.csv, rows)
    for group in GROUPS:
        part = [row for row in rows if row.group == group]
        if part:
            _print_totals(group.capitalize(), part, contestants)
    _print_totals("All settings", rows, contestants)
    if chosen:
        _print_chosen(chosen)


if __name__ == "__main__":
    main()
