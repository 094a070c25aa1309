"""Writes ``docs/benchmarks.md`` and its pictures from the raw results, and from nothing else.

python -m benchmarks.page [--results FOLDER] [--docs FOLDER]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks import pictures
from benchmarks.costs.page import costs_section
from benchmarks.gpu.page import gpu_section
from benchmarks.markdown import bold, is_ours, table
from benchmarks.raw_results import FOLDER, load
from benchmarks.score import BUDGETS, TUNED, Row, is_whole, run_by_all, summary, to_targets

DOCS = Path(__file__).parents[1] / "docs"
_INTRODUCTION = """# Benchmarks

This page and its pictures are made from `benchmarks/results` by `make bench` (under 20 minutes on two free cores) or
`make bench-full` (hours: more seeds and lengths). `make bench-check` measures the costs anew and says which got worse
than the spread. What was chosen with these workloads in view is said below. Losses are reported too. Names of this
package are in bold.
"""
_SCORE = """## Score: one fixed setting, no learning rate given

The idea is that of AlgoPerf's self-tuning rules (Dahl et al. 2023, arXiv:2306.07179), made small. Eight workloads of
different kinds have a target: a validation loss that NadamW with warm-up and cosine, tuned for each workload, reaches
with each of three seeds, which are not those of the tables. A contestant has one setting for all workloads, and is
given no learning rate. It knows its budget, 1.0 or 1.5 times the steps of the target. **Steps that find a learning rate
come out of the budget.** The score is the share of the runs that reach the target. The tuned NadamW is no contestant:
it is told the best learning rate.

No rule or constant of this package was chosen with these workloads in view but two. One does not matter here: the share
of the middle of the good rates that runs with SGD get, on seven of them trained with SGD. The other is that a learning
rate below the best one does not move the suggestion, which long runs of three of them decided. The peak of cycles was
confirmed on them. Their runs are short, {steps} steps, so a range test with trials spends a large part of the budget.
The mean distance is that of the best validation loss in a budget of 1.0: 0 at the target, 1 at the loss before
training, also where no step was left to train.
"""
_WORKLOADS = """
How many steps it took to reach the target, as a share of those that the target was set with, mean over the runs. A dash
means that it was not reached in all runs:
"""
_LONG = """## Long runs: what a learning rate found in a few steps is worth after {steps}

AdamW trains three of the workloads with each rate of a grid of half decades. The gap is log(L / L\\*) / log(L0 / L\\*)
with the final training loss L, the best of the grid L\\*, and the loss before training L0: 0 is the best, 1 no better
than untrained. `LRRangeTest` and `LRSearch` know the length of the run, and lower what their trials found accordingly.
"best of its trials" is the learning rate of the best trial. One part of their rule was decided by these runs, see
above. Mean (worst) over the workloads:
"""
_ROUNDS = "Measured with {factor:g} times the rounds of `make bench`.\n"


def score_section(rows: list[Row], targets: list[Row]) -> str:
    """The score and the steps to the target, for each length of the workloads."""
    parts: list[str] = []
    for length in sorted({row["length"] for row in rows}):
        of_length, of_target = judged(rows, targets, length)
        steps = [row["steps"] for row in of_target.values()]
        parts.append(
            _SCORE.format(steps=f"{min(steps)} to {max(steps)}") if not parts else f"Runs {length} times as long:\n"
        )
        runs = {(row["workload"], row["seed"]) for row in of_length}
        parts.append(f"{len({name for name, _ in runs})} workloads, {len({seed for _, seed in runs})} seed(s):\n")
        lines = summary(of_length, of_target)
        parts.append(_shares(lines, is_whole(of_length)))
        parts.append(ahead(lines, BUDGETS if is_whole(of_length) else BUDGETS[:1]))
        parts.append(_WORKLOADS)
        parts.append(_steps_to_target([line["contestant"] for line in lines], of_length, of_target))
    return "\n".join([*parts, "![Score of each contestant](benchmarks_score.png)\n"])


def judged(rows: list[Row], targets: list[Row], length: int) -> tuple[list[Row], dict[str, Row]]:
    """The runs of a length on the workloads that all contestants were run on, and the targets of these."""
    of_length = run_by_all([row for row in rows if row["length"] == length])
    if not is_whole(of_length):  # a part of the runs with the larger budget would favour those that were run
        of_length = [row for row in of_length if row["budget"] == BUDGETS[0]]
    names = {row["workload"] for row in of_length}
    of_target = {row["workload"]: row for row in targets if row["length"] == length}
    return of_length, {name: of_target[name] for name in of_target if name in names}


def _shares(lines: list[Row], is_whole: bool) -> str:
    def cells(line: Row) -> list[str]:
        large = f"{line[f'share {BUDGETS[1]}']:.2f}" if is_whole else "not run yet"
        distance, steps = f"{line['distance']:.3f}", f"{line['steps_to_find']:.0f}"
        return [bold(line["contestant"]), f"{line[f'share {BUDGETS[0]}']:.2f}", large, distance, steps]

    head = ["", *(f"within {budget}" for budget in BUDGETS), "mean distance", "steps to find"]
    return table(head, map(cells, lines))


def ahead(lines: list[Row], budgets: Sequence[float]) -> str:
    """Which contestants reach more targets than the best of this package."""
    parts = []
    for share in (f"share {budget}" for budget in budgets):
        best = max((line[share] for line in lines if is_ours(line["contestant"])), default=0.0)
        names = [line["contestant"] for line in lines if line[share] > best and line["contestant"] != TUNED]
        parts.append(f"{share.replace('share', 'within')}: {', '.join(names) or 'none'}")
    return f"Contestants ahead of the best of this package {'; '.join(parts)}.\n"


def _steps_to_target(names: list[str], rows: list[Row], targets: dict[str, Row]) -> str:
    def cell(name: str, workload: str) -> str:
        runs: dict[int, list[int]] = {}
        for row in rows:
            if (row["contestant"], row["workload"]) == (name, workload):
                runs.setdefault(row["seed"], []).extend([] if row["reached"] is None else [row["reached"]])
        if not runs or not all(runs.values()):
            return "–"
        return f"{fmean(min(each) for each in runs.values()) / targets[workload]['steps']:.2f}"

    return table(["", *targets], ([bold(name), *(cell(name, each) for each in targets)] for name in names))


def long_section(rows: list[Row]) -> str:
    """The gaps of the finders after long runs."""
    parts: list[str] = []
    for steps in sorted({row["steps"] for row in rows}, reverse=True):
        found = [row for row in rows if row["steps"] == steps and row["kind"] == "found"]
        length = f"{steps:,}".replace(",", " ")
        parts.append(f"Runs of {length} steps:\n" if parts else _LONG.format(steps=length))
        lines = []
        for name in dict.fromkeys(row["name"] for row in found):
            of_name = [row for row in found if row["name"] == name]
            gaps = [[row[f"gap {schedule}"] for row in of_name] for schedule in ("constant", "one cycle")]
            cells = [f"{fmean(each):.3f} ({max(each):.2f})" for each in gaps]
            taken = fmean(row["steps_to_find"] for row in of_name)
            lines.append([bold(name), *cells, f"{taken:.0f}", str(len(of_name))])
        lines.sort(key=lambda line: float(line[1].split()[0]))
        parts.append(table(["", "constant rate", "one cycle", "steps to find", "runs"], lines))
    return "\n".join([*parts, "![Loss after a long run against the learning rate](benchmarks_long_runs.png)\n"])


def made_with(results: dict[str, Any]) -> str:
    """With what and on what the results were made."""
    about = results["made_with"]
    packages = ", ".join(f"{name} {version}" for name, version in about["packages"].items())
    machine = f"{about['processor']}, {about['cores']} cores, {about['system']}"
    return f"Made with Python {about['python']}, {packages}; {machine}.\n"


def write_page(results: Path, docs: Path) -> None:
    """Write the page and its pictures from the files that are there."""
    score, targets = load("score", results), load("targets", results)
    long_runs, costs = load("long_runs", results), load("costs", results)
    parts = [_INTRODUCTION]
    if rows := to_targets(score["rows"], targets["rows"]):
        parts += [score_section(rows, targets["rows"]), made_with(score)]
        of_length, of_target = judged(rows, targets["rows"], min(row["length"] for row in rows))
        lines = summary(of_length, of_target)
        pictures.draw_score(lines, is_ours, is_whole(of_length), docs / "benchmarks_score.png")
    if long_runs["rows"]:
        parts += [long_section(long_runs["rows"]), made_with(long_runs)]
        pictures.draw_long_runs(long_runs["rows"], docs / "benchmarks_long_runs.png")
    if any(row["kind"] == "step" for row in costs["rows"]):
        parts += [costs_section(costs["rows"]), _ROUNDS.format(factor=costs["factor"]), made_with(costs)]
        pictures.draw_costs(costs["rows"], is_ours, docs / "benchmarks_costs.png")
    gpu = load("gpu", results)
    if gpu["rows"]:
        parts.append(gpu_section(gpu))
    (docs / "benchmarks.md").write_text("\n".join(parts))


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=FOLDER)
    parser.add_argument("--docs", type=Path, default=DOCS)
    arguments = parser.parse_args(words)
    write_page(arguments.results, arguments.docs)


if __name__ == "__main__":
    main()
