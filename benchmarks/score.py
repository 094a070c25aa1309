"""How many workloads each contestant trains to their target, as AlgoPerf's self-tuning rules ask.

    python -m benchmarks.score [--seeds 0] [--lengths 1] [--contestants NAME ...] [--workloads NAME ...]

Each contestant has one fixed setting for all workloads and is given no learning rate. A run knows its budget of
optimizer steps, and what finding a learning rate takes comes out of it. It ends when its validation loss reaches the
target (`benchmarks.targets`). A budget is 1.0 or 1.5 times the steps that the target was set with. The score is the
share of runs that reach it. A contestant that reaches the target with the small budget is not run with the large one.

The tuned NadamW is run too, for comparison. It is no contestant: it is told the best learning rate of each workload.

With ``--lengths 4`` the workloads also have targets that were set with four times the steps.

Each run is added to the file at once. A run that is in the file is not made again, unless its target has changed or
``--anew`` is given.
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
Key = tuple[int, int, str, str]  # length, seed, workload, contestant


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
        "target": target["target"],
        "reached": run.reached,
        "steps_to_find": run.steps_to_find,
        "best": run.best,
    }


def key_of(row: Row) -> Key:
    """Of a row of the file."""
    return row["length"], row["seed"], row["workload"], row["contestant"]


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
    known = {key_of(row) for row in rows}
    return [row for row in rows if all((*key_of(row)[:3], name) in known for name in names)]


def is_whole(rows: list[Row]) -> bool:
    """Whether each run that missed its target with a budget was made with the larger budgets too."""
    return not any(missing(rows, budget, map(key_of, rows)) for budget in BUDGETS)


def missing(known: list[Row], budget: float, keys: Iterable[Key]) -> list[Key]:
    """Of these runs, those to be made with a budget: not made yet, nor done with less."""
    done = {key_of(row) for row in known if row["reached"] is not None or row["budget"] == budget}
    return [key for key in keys if key not in done]


def to_targets(rows: list[Row], targets: list[Row]) -> list[Row]:
    """The runs whose target is one of these, which may have changed since."""
    known = {(each["length"], each["workload"], each["target"]) for each in targets}
    return [row for row in rows if (row["length"], row["workload"], row["target"]) in known]


def measure(keys: Sequence[Key], pool: Executor, anew: bool = False) -> None:
    """Make the runs that are not in the file, and add each to it.

    A run whose target has changed since is made again. With ``anew`` the first run that ends takes the place of what is
    in the file.
    """
    kept = [] if anew else load("score")["rows"]
    rows = to_targets(kept, load("targets")["rows"])
    if len(rows) < len(kept):
        print(f"{len(kept) - len(rows)} runs are discarded, since their target has changed.", flush=True)
    for budget in BUDGETS:
        futures = [pool.submit(run_once, budget, *key) for key in missing(rows, budget, keys)]
        for future in as_completed(futures):
            rows = [*rows, future.result()]
            save("score", rows)
            print(*rows[-1].values(), flush=True)


def keys_of(
    lengths: Sequence[int],
    seeds: Sequence[int],
    workloads: Sequence[str] = tuple(WORKLOADS),
    names: Sequence[str] | None = None,
) -> list[Key]:
    """The runs of these contestants, or of all, in turn."""
    return list(product(lengths, seeds, workloads, [TUNED, *contestants()] if names is None else names))


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--lengths", type=positive_count, nargs="+", default=[1], help="factors of the steps")
    parser.add_argument("--contestants", nargs="+", metavar="NAME")
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS), metavar="NAME")
    parser.add_argument("--workers", type=positive_count, default=1)
    parser.add_argument("--anew", action="store_true", help="discard the file and make these runs again")
    arguments = parser.parse_args(words)
    keys = keys_of(arguments.lengths, arguments.seeds, arguments.workloads, arguments.contestants)
    with processes(arguments.workers) as pool:
        measure(keys, pool, arguments.anew)


if __name__ == "__main__":
    main()
