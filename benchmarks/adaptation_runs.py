"""The runs of `benchmarks.adaptation`: what is trained, in several processes, and the file that keeps how it ended."""

from __future__ import annotations

import csv
import sys
from concurrent.futures import as_completed
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, cast

from benchmarks.adaptation_contestants import CONTESTANTS
from benchmarks.processes import processes
from benchmarks.suite import SETTINGS
from benchmarks.suite.scheduled import Schedule, truth_under
from benchmarks.suite.setting import Setting
from benchmarks.suite.training import Ended, train

BEST = "best of the grid"


class Run(NamedTuple):
    """What is trained.

    Attributes:
        setting: name of the setting.
        seed: of the weights and of the batches.
        contestant: who adapts the learning rate.
        schedule: on top of what.
        start: learning rate at the start, or peak of the schedule. None for a contestant that does not look at it.
        steps: optimizer steps.
    """

    setting: str
    seed: int
    contestant: str
    schedule: Schedule
    start: float | None
    steps: int


Results = dict[Run, Ended]


@lru_cache(maxsize=1)  # runs are made setting by setting
def setting_named(name: str) -> Setting:
    """The setting, kept until another one is asked for."""
    return SETTINGS[name]()


def train_run(run: Run) -> Ended:
    """Train as the contestant does."""
    setting = setting_named(run.setting)
    if run.contestant == BEST:
        return train(setting, run.seed, truth_under(run.setting, run.schedule).best_lr, run.schedule, run.steps)
    contestant = CONTESTANTS[run.contestant]
    lr = run.start if contestant.lr is None else contestant.lr
    assert lr is not None
    changed = contestant.change(setting)
    return train(changed, run.seed, lr, run.schedule, run.steps, contestant.callbacks, contestant.finds_lr)


def results_of(runs: list[Run], workers: int, path: Path | None) -> Results:
    """Train what the file does not hold yet, and add it to the file."""
    known = {} if path is None or not path.exists() else read_csv(path)
    results = {run: known[run] for run in runs if run in known}
    if results:
        print(f"{len(results)} of {len(runs)} runs are taken from {path}.", file=sys.stderr, flush=True)
    with processes(workers) as pool:
        futures = {pool.submit(train_run, run): run for run in runs if run not in results}
        for future in as_completed(futures):
            run = futures[future]
            results[run] = future.result()
            if path is not None:
                add_to_csv(path, run, results[run])
            print(f"{len(results)}/{len(runs)} {' '.join(map(str, run))}", file=sys.stderr, flush=True)
    return results


def log_gap(run: Run, ended: Ended) -> float:
    """The log gap of the training loss to that of the best peak of the grid under the same schedule."""
    return truth_under(run.setting, run.schedule).gap_of_loss(ended.loss).log


def read_csv(path: Path) -> Results:
    """The runs that `add_to_csv` wrote."""
    with path.open(newline="") as file:
        return {
            Run(
                line["setting"],
                int(line["seed"]),
                line["contestant"],
                cast(Schedule, line["schedule"]),
                float(line["start"]) if line["start"] else None,
                int(line["steps"]),
            ): Ended(float(line["loss"]), float(line["validation"]))
            for line in csv.DictReader(file)
        }


def add_to_csv(path: Path, run: Run, ended: Ended) -> None:
    """One line for a run, and the names of the columns before the first."""
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if is_new:
            writer.writerow([*Run._fields, *Ended._fields, "gap"])
        writer.writerow([*run, *ended, log_gap(run, ended)])
