"""Range tests and searches of logs that have no record, as far as scalars show them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning_lr_tensorboard.tags import RANGE_TEST, SEARCH

# Step -> value, of each tag.
Scalars = Mapping[str, Mapping[int, float]]

_SMOOTHED = "_smoothed"


def range_tests(scalars: Scalars, known: set[str]) -> list[dict[str, Any]]:
    """The range tests, in the form of records.

    Args:
        scalars: of a run.
        known: prefixes that have a record.
    """
    found = []
    for prefix in sorted({match[1] for tag in scalars if (match := RANGE_TEST.match(tag))} - known):
        monitors = [tag for tag in scalars if f"{tag}{_SMOOTHED}" in scalars and RANGE_TEST.sub(r"\1", tag) == prefix]
        if not monitors or f"{prefix}/lr" not in scalars:
            continue
        lrs, values, smoothed = (scalars[f"{prefix}/lr"], scalars[monitors[0]], scalars[f"{monitors[0]}{_SMOOTHED}"])
        sweeps = _sweeps(lrs, sorted(lrs.keys() & values.keys() & smoothed.keys()))
        suggestions = [scalars.get(f"{prefix}/{key}", {}) for key in ("suggested_lr", "base_lr", "max_lr")]
        for i, steps in enumerate(sweeps):
            lr, base_lr, max_lr = (_at(each, i) for each in suggestions)
            found.append(
                {
                    "kind": "range_test",
                    "prefix": prefix,
                    "step": steps[0],
                    "monitor": monitors[0].removeprefix(f"{prefix}/"),
                    "lrs": [lrs[step] for step in steps],
                    "values": [values[step] for step in steps],
                    "smoothed": [smoothed[step] for step in steps],
                    "lr": lr,
                    "base_lr": base_lr,
                    "max_lr": max_lr,
                }
            )
    return found


def searches(scalars: Scalars, known: set[str]) -> list[dict[str, Any]]:
    """The searches, in the form of records: learning rates and scores, but no curves.

    Args:
        scalars: of a run.
        known: prefixes that have a record.
    """
    found = []
    for prefix in sorted({match[1] for tag in scalars if (match := SEARCH.match(tag))} - known):
        lrs, scores = scalars.get(f"{prefix}/lr", {}), scalars.get(f"{prefix}/score", {})
        rungs = scalars.get(f"{prefix}/rung", {})
        latest = {lrs[step]: (int(rungs.get(step, 0)), scores.get(step)) for step in sorted(lrs)}
        if latest:
            candidates = [{"lr": lr, "rung": rung, "score": score} for lr, (rung, score) in latest.items()]
            lr, base_lr, max_lr = (
                _at(scalars.get(f"{prefix}/{key}", {}), 0) for key in ("suggested_lr", "base_lr", "max_lr")
            )
            suggestion = {"lr": lr, "base_lr": base_lr, "max_lr": max_lr}
            found.append({"kind": "search", "prefix": prefix, "step": min(lrs), "candidates": candidates, **suggestion})
    return found


def _sweeps(lrs: Mapping[int, float], steps: list[int]) -> list[list[int]]:
    """The steps of each sweep: one ends where the learning rate falls."""
    sweeps: list[list[int]] = []
    for step in steps:
        if not sweeps or lrs[step] < lrs[sweeps[-1][-1]]:
            sweeps.append([])
        sweeps[-1].append(step)
    return sweeps


def _at(scalar: Mapping[int, float], i: int) -> float | None:
    """The i-th value, or the last one."""
    values = [scalar[step] for step in sorted(scalar)]
    return values[min(i, len(values) - 1)] if values else None
