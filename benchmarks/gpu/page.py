"""The section of ``docs/benchmarks.md`` on a GPU, from ``benchmarks/results/gpu.json``."""

from __future__ import annotations

from typing import Any

from benchmarks.markdown import bold, table

Row = dict[str, Any]
_OVERHEAD = "overhead, "
_INTRODUCTION = """## On a GPU

`python -m benchmarks.gpu` on an {device}, torch {torch}, Lightning {lightning}, in bf16-mixed with fused AdamW. What a
callback adds to a step of training, in percent of a step of the bare loop (lowest and highest of the rounds). "Settled"
is `HypergradientLR` when it measures every fifth step, as it does once it has settled:
"""
_WAITS = """
How often a step waits for the device, away from logging (`torch.cuda.set_sync_debug_mode`), and how many buffers of the
size of the parameters are held beyond the bare loop:
"""
_RANGE_TEST = """
Finding a learning rate, against as many plain steps:
"""
_RANGE_TEST_THAT_GOES_ON = """
Finding a learning rate, against plain steps. The sweep may have gone on beyond its last learning rate here, so it may
have had more steps than the others:
"""
_WIDE = """
Three settings of `benchmarks.suite` with ten times the width, trained for 5000 steps; the log gap to the best of a grid
of 25 constant rates (0 is the best, 1 no better than untrained, below 0 better than all constant rates). The rule of
`HypergradientLR` has changed since:
"""


def gpu_section(results: dict[str, Any]) -> str:
    """What the callbacks cost on a GPU, and what they are worth on wide networks."""
    rows: list[Row] = results["rows"]
    parts = [_INTRODUCTION.format(**results["machine"]), _overhead(rows), _WAITS, _waits(rows)]
    stays = all(row.get("stays_in_range") for row in rows if row["part"] == "range test")
    parts += [_RANGE_TEST if stays else _RANGE_TEST_THAT_GOES_ON, _range_test(rows), _WIDE, _wide(rows)]
    return "\n".join(parts)


def _overhead(rows: list[Row]) -> str:
    places = list(dict.fromkeys(row["part"] for row in rows if row["part"].startswith(_OVERHEAD)))
    names = dict.fromkeys(row["contestant"] for row in rows if row["part"] in places)
    cells = {
        (row["contestant"], row["part"]): (
            f"{row['ms_per_step']:.1f} ms"
            if row["contestant"] == "bare loop"
            else f"{row['added_percent']:.1f} ({row['added_least']:.1f} to {row['added_most']:.1f})"
        )
        for row in rows
        if row["part"] in places
    }
    head = ["", *(place.removeprefix(_OVERHEAD) for place in places)]
    return table(head, ([bold(name), *(cells.get((name, place), "") for place in places)] for name in names))


def _waits(rows: list[Row]) -> str:
    waits = [row for row in rows if row["part"] == "waits"]
    held = {row["contestant"]: row["copies_held"] for row in rows if row["part"].startswith(_OVERHEAD + "GPT-2")}
    lines = []
    for row in waits:
        name = row["contestant"]
        copies = held.get(name)
        lines.append([bold(name), str(row["per_step"]), "not known" if copies is None else f"{copies:.2f}"])
    return table(["", "waits a step", "buffers held"], lines)


def _range_test(rows: list[Row]) -> str:
    lines = (
        [bold(row["contestant"]), f"{row['ratio']:.2f} ({row['ratio_least']:.2f} to {row['ratio_most']:.2f})"]
        for row in rows
        if row["part"] == "range test"
    )
    return table(["", "time, as a ratio"], lines)


def _wide(rows: list[Row]) -> str:
    runs = [row for row in rows if row["part"] == "wide"]
    settings = list(dict.fromkeys(row["setting"] for row in runs))
    cells = {(row["contestant"], row["start"], row["setting"]): f"{row['log_gap']:.2f}" for row in runs}
    contestants = sorted({(row["contestant"], row["start"]) for row in runs}, reverse=True)
    lines = (
        [f"{bold(name)}, started at {start:g}", *(cells.get((name, start, each), "–") for each in settings)]
        for name, start in contestants
    )
    return table(["", *settings], lines)
