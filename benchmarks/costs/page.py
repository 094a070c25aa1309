"""The section of ``docs/benchmarks.md`` on costs, from ``benchmarks/results/costs.json``."""

from __future__ import annotations

from typing import Any

from benchmarks.markdown import bold, table

Row = dict[str, Any]
_COSTS = """## Costs

All times are ratios of processor time, measured in turn in one process: A B A B, in a new order each round, since what
ran before leaves the caches in its state. Each is the median of the ratios of all rounds, with the spread of four parts
of the rounds in brackets. What schedules and traces add to the steps of linear maps with 10 thousand parameters also
depends on where the memory of a process lies: there, each of the four parts has a process of its own. Only what was
measured together is compared. Denormal numbers are flushed to 0: arithmetic with them is many times slower, and each
case comes to another number of them. Freed memory is kept, where the C library is glibc: what it gives back and takes
anew differs from run to run.

A step with a callback, against a step of the bare loop. `HypergradientLR` measures each step at first, and every fifth
once it has settled:
"""
_AIMS = """
Aims, with the worst ratio that was measured of each and its spread. An aim is met if no ratio is above it. It is missed
if all of the spread of one is above it: that one is shown. "Within the noise" means that a ratio is above it, but a
part of its spread is not. The tiny CNN has 10 thousand parameters, images of 8 x 8 pixels and batches of 32, the small
one is the network of PyTorch's MNIST example, with 1.2 million parameters and batches of 64. A step of the tiny one is
so short that the fixed time of `HypergradientLR` and of a finder is a large share of it.

`LearningRateMonitor` does nothing between two logged steps. The callbacks of this package keep the learning rate of
each step for `callback_metrics`, so they save less where every 50th step is logged:
"""


def costs_section(rows: list[Row]) -> str:
    """The aims and all ratios."""
    steps = [row for row in rows if row["kind"] == "step"]
    places = list(dict.fromkeys(row["where"] for row in steps))
    cells = {(row["what"], row["where"]): _spread(row) for row in steps}
    parts = [_COSTS]
    names = dict.fromkeys(row["what"] for row in steps)
    parts.append(table(["", *places], ([bold(name), *(cells.get((name, at), "") for at in places)] for name in names)))
    parts.append(
        "What a callback adds, against what its rival adds, from these medians. Where a step takes long against what is"
        " added, the noise is as large as that, and the ratio says little:\n"
    )
    parts.append(_ratios([row for row in rows if row["kind"] == "added"]))
    parts.append(
        "Finding a learning rate, the most memory that is held beyond a bare loop, in copies of the parameters, and the"
        " import. Trials keep states to go on from while memory is free, and begin anew where it is not:\n"
    )
    parts.append(_ratios([row for row in rows if row["kind"] not in ("step", "added")]))
    parts.append("![Time of a step with each callback](benchmarks_costs.png)\n")
    parts.append(_AIMS)
    parts.append(table(["", "aim", "measured", ""], _aims(rows)))
    return "\n".join(parts)


def _aims(rows: list[Row]) -> list[list[str]]:
    """What was aimed at, the worst that was measured, and whether it was met."""
    lines = []
    cycles = ("CyclicalLR", "OneCycleLR", "WarmupStableDecayLR")
    settled, each_step = ("HypergradientLR, settled",), ("HypergradientLR, each step measured",)
    sweep, range_test, search = ("LRRangeTest(verify=False)",), ("LRRangeTest, whole run",), ("LRSearch, whole run",)
    for name, kind, whats, where, limit in (
        ("schedules against torch's + monitor", "added", cycles, "10 thousand parameters, ", 0.5),
        ("traces against the monitor", "added", ("CyclicLR + LRTrace",), "10 thousand parameters, ", 0.5),
        *(
            (f"{what} of a {where}", kind, whats, where, 1.05)
            for where in ("small CNN", "tiny CNN")
            for what, kind, whats in (
                ("adaptation, settled,", "step", settled),
                ("adaptation, each step measured,", "step", each_step),
                ("sweep against plain steps", "finder", sweep),
                ("range test against plain steps", "finder", range_test),
                ("search against plain steps", "finder", search),
            )
        ),
    ):
        found = [
            row
            for row in rows
            if row["kind"] == kind
            and row["what"] in whats
            and row["where"].startswith(where)
            and "Finder" not in row["against"]
        ]
        lines.append([name, f"at most {limit}", *_judged(found, limit)])
    return lines


def _judged(rows: list[Row], limit: float) -> list[str]:
    """The ratio that decides, and whether the aim was met."""
    if not rows:
        return ["", "not measured in this form"]
    missed = [row for row in rows if min(row["ratio"], row["low"]) > limit]
    worst = max(missed or rows, key=lambda row: row["ratio"])
    if missed:
        return [_spread(worst), "**missed**"]
    return [_spread(worst), "met" if worst["ratio"] <= limit else "within the noise"]


def _ratios(rows: list[Row]) -> str:
    lines = ([bold(row["what"]), row["against"], row["where"], _spread(row)] for row in rows)
    return table(["", "against", "where", "ratio"], lines)


def _spread(row: Row) -> str:
    if row["low"] == row["high"]:
        return f"{row['ratio']:.2f}"
    return f"{row['ratio']:.2f} ({row['low']:.2f} to {row['high']:.2f})"
