"""The section of ``docs/benchmarks.md`` on costs, from ``benchmarks/results/costs.json``."""

from __future__ import annotations

from typing import Any

from benchmarks.markdown import bold, table

Row = dict[str, Any]
_COSTS = """## Costs

All times are ratios of processor time, measured in turn in one process (A B A B). Each is the median of the ratios of
all rounds, with the spread of four parts of the rounds in brackets. Only what was measured together is compared.
Numbers below 1e-38 are flushed to 0: they take many times as long, and each case comes to other ones.

A step with a callback, against a step of the bare loop. `HypergradientLR` measures each step at first, and every fifth
once it has settled:
"""
_AIMS = """
Aims, with the worst ratio that was measured of each and its spread. An aim is met if no ratio is above it, and missed
if all of the spread of one is. Else the noise is too large to tell. `LearningRateMonitor` does nothing between two
logged steps. The callbacks of this package write the learning rate of each step to `callback_metrics`. So when every
50th step is logged, they cost about half of `CyclicLR` and the monitor in the smallest model. The small CNN is that of
PyTorch's example on MNIST, with 1.2 million parameters and batches of 64. The tiny one has 10 thousand parameters and
images of 8 x 8 pixels. What `HypergradientLR` does at a step does not take less time there, but the step does:
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
    for name, kind, whats, where, limit in (
        ("schedules against torch's + monitor", "added", cycles, "10 thousand parameters, ", 0.5),
        ("traces against the monitor", "added", ("CyclicLR + LRTrace",), "10 thousand parameters, ", 0.5),
        ("adaptation of a small CNN, settled", "step", settled, "small CNN", 1.05),
        ("the same with each step measured", "step", each_step, "small CNN", 1.05),
        ("adaptation of a tiny CNN, settled", "step", settled, "tiny CNN", 1.05),
        ("sweep against plain steps, small CNN", "finder", ("LRRangeTest(verify=False)",), "small CNN", 1.05),
        ("range test against plain steps, small CNN", "finder", ("LRRangeTest, whole run",), "small CNN", 1.05),
        ("search against plain steps, small CNN", "finder", ("LRSearch, whole run",), "small CNN", 1.05),
        ("sweep against plain steps, tiny CNN", "finder", ("LRRangeTest(verify=False)",), "tiny CNN", 1.05),
        ("range test against plain steps, tiny CNN", "finder", ("LRRangeTest, whole run",), "tiny CNN", 1.05),
        ("search against plain steps, tiny CNN", "finder", ("LRSearch, whole run",), "tiny CNN", 1.05),
    ):
        found = [
            row
            for row in rows
            if row["kind"] == kind
            and row["what"] in whats
            and row["where"].startswith(where)
            and "Finder" not in row["against"]
        ]
        if found:
            worst = max(found, key=lambda row: row["ratio"])
            lines.append([name, f"at most {limit}", _spread(worst), _verdict(found, limit)])
    return lines


def _verdict(rows: list[Row], limit: float) -> str:
    if all(row["ratio"] <= limit for row in rows):
        return "met"
    return "**missed**" if any(row["low"] > limit for row in rows) else "within the noise"


def _ratios(rows: list[Row]) -> str:
    lines = ([bold(row["what"]), row["against"], row["where"], _spread(row)] for row in rows)
    return table(["", "against", "where", "ratio"], lines)


def _spread(row: Row) -> str:
    if row["low"] == row["high"]:
        return f"{row['ratio']:.2f}"
    return f"{row['ratio']:.2f} ({row['low']:.2f} to {row['high']:.2f})"
