"""The suggestions of `benchmarks.suggestions`: who suggests what, in several processes, and how good it is."""

from __future__ import annotations

import argparse
import sys
from itertools import product, repeat
from statistics import median
from typing import NamedTuple

from benchmarks.processes import processes
from benchmarks.suite import GROUP_OF, SETTINGS
from benchmarks.suite.contestants import CONTESTANTS, RANGE_TEST, SEARCHES, Cell, Found
from benchmarks.suite.leave_one_out import BestTrials
from benchmarks.suite.truth import SCHEDULES, Gap, ScheduleName, truth_of

_NOTHING_FOUND = Gap(1.0, 1.0)


class Row(NamedTuple):
    """A suggestion, and how good it is.

    Attributes:
        setting: name of the setting.
        optimizer: name of its optimizer.
        group: name of the group of the setting.
        seed: of the weights and of the batches.
        contestant: who suggests it.
        found: what is suggested.
        gaps: of the suggestion for each schedule.
    """

    setting: str
    optimizer: str
    group: str
    seed: int
    contestant: str
    found: Found | None
    gaps: dict[ScheduleName, Gap]

    @property
    def steps(self) -> int:
        return 0 if self.found is None else self.found.steps

    @property
    def best(self) -> BestTrials | None:
        return None if self.found is None else self.found.best


def all_rows(arguments: argparse.Namespace) -> list[Row]:
    """The suggestions of all contestants, those for one setting after each other."""
    cells = list(product(arguments.settings, arguments.seeds))
    rows: list[Row] = []

    def add(contestants: list[str], budget: int) -> None:
        if not contestants:
            return
        results = pool.map(_rows, *zip(*cells, strict=True), repeat(contestants), repeat(budget))
        for (name, seed), of_cell in zip(cells, results, strict=True):
            rows.extend(of_cell)
            print(f"{name}, seed {seed}: {', '.join(contestants)}", file=sys.stderr, flush=True)

    with processes(arguments.workers) as pool:
        add([name for name in arguments.contestants if name in CONTESTANTS], 0)
        if searches := [name for name in arguments.contestants if name in SEARCHES]:
            steps = [row.steps for row in rows if row.contestant == RANGE_TEST]
            add(searches, int(median(steps)) if arguments.budget is None else arguments.budget)
    return sorted(rows, key=lambda row: arguments.settings.index(row.setting))


def _rows(setting_name: str, seed: int, contestants: list[str], budget: int) -> list[Row]:
    """The suggestions of these contestants for one setting and seed."""
    setting = SETTINGS[setting_name]()
    cell = Cell(setting, seed)
    rows = []
    for name in contestants:
        found = CONTESTANTS[name](cell) if name in CONTESTANTS else SEARCHES[name](cell, budget)
        gaps = gaps_of(setting_name, found)
        rows.append(Row(setting_name, setting.optimizer, GROUP_OF[setting_name], seed, name, found, gaps))
    return rows


def gaps_of(setting: str, found: Found | None) -> dict[ScheduleName, Gap]:
    """The gaps of a suggestion for a setting, under each schedule. Without one they are those of no training."""
    if found is None:
        return dict.fromkeys(SCHEDULES, _NOTHING_FOUND)
    lrs = (found.lr, found.max_lr, found.one_cycle_max_lr)
    return {schedule: truth_of(setting)[schedule].gap(lr) for schedule, lr in zip(SCHEDULES, lrs, strict=True)}
