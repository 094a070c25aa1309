"""How many workloads each contestant trains to their target, as AlgoPerf's self-tuning rules ask.

    python -m benchmarks.score [--seeds 0] [--lengths 1] [--contestants NAME ...] [--workloads NAME ...]

Each contestant has one fixed setting for all workloads and is given no learning rate. A run knows its budget of
optimizer steps, and what finding a learning rate takes comes out of it. It ends when its validation loss reaches the
target (`benchmarks.targets`). A budget is 1.0 or 1.5 times the steps that the target was set with. The score is the
share of runs that reach it. A contestant that reaches the target with the small budget is not run with the large one.

The tuned NadamW is run too, for comparison. It is no contestant: it is told the best learning rate of each workload.

With ``--lengths 4`` the workloads also have targets that were set with four times the steps.

Each run is added to the file at once. A run that is in the file is not made again, unless ``--anew`` is given.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor, as_completed
from itertools import product
from statistics import fmean, median
from typing import Any

import numpy as np

from benchmarks.argument_types import positive_count
from benchmarks.contestants import contestants
from benchmarks.processes import processes
from benchmarks.raw_results import load, save
from benchmarks.workloads import WORKLOADS
from benchmarks.workloads.run import EVALUATIONS, Run

BUDGETS = (1.0, 1.5)  # of the steps of the target
TUNED = "NadamW, tuned for each workload"
Row = dict[str, Any]
Cell = tuple[int, int, str, str]  # length, seed, workload, contestant


class _Tuned:
    """NadamW as it set the targets."""

    NAME = TUNED

    def __init__(self, targets: Mapping[str, Row]) -> None:
        self.targets = targets

    def train(self, run: Run) -> None:
        run.fit(self.targets[run.setting.name]["lr"], "warm-up and cosine")


def targets_of(length: int) -> dict[str, Row]:
    """The rows of the file of targets for a length, by workload."""
    return {row["workload"]: row for row in load("targets")["rows"] if row["length"] == length}


def run_once(budget: float, length: int, seed: int, workload: str, name: str) -> Row:
    """One run of a contestant, as a row of the file."""
    targets = targets_of(length)
    contestant = _Tuned(targets) if name == TUNED else contestants()[name]
    target = targets[workload]
    steps = target["steps"]
    run = Run(WORKLOADS[workload](), seed, round(budget * steps), steps // EVALUATIONS, target["target"])
    contestant.train(run)
    return {
        "workload": workload,
        "length": length,
        "seed": seed,
        "budget": budget,
        "contestant": name,
        "reached": run.reached,
        "steps_to_find": run.steps_to_find,
        "best": run.best,
    }


def shares(rows: list[Row], name: str) -> dict[float, float]:
    """For each budget, the share of the workloads whose target a contestant reaches, mean over seeds.

    What is reached with a small budget counts as reached with a large one.
    """
    of_name = [row for row in rows if row["contestant"] == name]
    runs = {(row["workload"], row["seed"]) for row in of_name}
    found = {}
    for budget in BUDGETS:
        reached = {
            (row["workload"], row["seed"]) for row in of_name if row["budget"] <= budget and row["reached"] is not None
        }
        found[budget] = len(reached) / len(runs) if runs else math.nan
    return found


def distance(row: Row, target: Row) -> float:
    """How far the best loss of a run is from the target: 0 at or below it, 1 at the loss before training."""
    best: float = target["initial"] if row["best"] is None else row["best"]
    share = (best - target["target"]) / (target["initial"] - target["target"])
    return float(np.clip(share, 0, 1))


def summary(rows: list[Row], targets: Mapping[str, Row]) -> list[Row]:
    """A row for each contestant, the best one first."""
    lines = []
    for name in dict.fromkeys(row["contestant"] for row in rows):
        of_name = [row for row in rows if row["contestant"] == name]
        found = shares(rows, name)
        small = [row for row in of_name if row["budget"] == BUDGETS[0]]
        lines.append(
            {
                "contestant": name,
                "runs": len(small),
                **{f"share {budget}": found[budget] for budget in BUDGETS},
                "distance": fmean(distance(row, targets[row["workload"]]) for row in small),
                "steps_to_find": median(row["steps_to_find"] for row in small),
            }
        )
    return sorted(lines, key=lambda line: (-sum(line[f"share {each}"] for each in BUDGETS), line["distance"]))


def run_by_all(rows: list[Row]) -> list[Row]:
    """The runs on those workloads and seeds that every contestant was run on."""
    names = {row["contestant"] for row in rows}

    def key(row: Row) -> tuple[int, int, str]:
        return row["length"], row["seed"], row["workload"]

    known = {(key(row), row["contestant"]) for row in rows}
    return [row for row in rows if all((key(row), name) in known for name in names)]


def is_whole(rows: list[Row]) -> bool:
    """Whether each run that missed its target with a budget was made with the larger budgets too."""
    cells = {(row["length"], row["seed"], row["workload"], row["contestant"]) for row in rows}
    return not any(missing(rows, budget, cells) for budget in BUDGETS)


def missing(known: list[Row], budget: float, cells: Iterable[Cell]) -> list[Cell]:
    """Of these cells, those to be run with a budget: not run yet, nor done with less."""
    done = {
        (row["length"], row["seed"], row["workload"], row["contestant"])
        for row in known
        if row["reached"] is not None or row["budget"] == budget
    }
    return [cell for cell in cells if cell not in done]


def measure(cells: Sequence[Cell], pool: Executor, anew: bool = False) -> None:
    """Make the runs that are not in the file, all of them if ``anew``, and write each to it when it ends."""
    rows = [] if anew else load("score")["rows"]
    for budget in BUDGETS:
        futures = [pool.submit(run_once, budget, *cell) for cell in missing(rows, budget, cells)]
        for future in as_completed(futures):
            rows = [*rows, future.result()]
            save("score", rows)
            print(*rows[-1].values(), flush=True)


def runs_of(
    lengths: Sequence[int], seeds: Sequence[int], names: Sequence[str] = (), workloads: Sequence[str] = tuple(WORKLOADS)
) -> list[Cell]:
    """The runs of these contestants on these workloads, in turn: of all contestants if there are no names."""
    return list(product(lengths, seeds, workloads, names or [TUNED, *contestants()]))


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--lengths", type=positive_count, nargs="+", default=[1], help="factors of the steps")
    parser.add_argument("--contestants", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS), metavar="NAME")
    parser.add_argument("--workers", type=positive_count, default=1)
    parser.add_argument("--anew", action="store_true", help="make all runs again")
    arguments = parser.parse_args(words)
    cells = runs_of(arguments.lengths, arguments.seeds, arguments.contestants, arguments.workloads)
    with processes(arguments.workers) as pool:
        measure(cells, pool, arguments.anew)


if __name__ == "__main__":
    main()
