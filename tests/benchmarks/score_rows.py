"""The rows of a score that was made up."""

from __future__ import annotations

from typing import Any

TARGETS = {"clicks": {"workload": "clicks", "length": 1, "steps": 100, "target": 0.5, "initial": 0.7}}


def run_row(contestant: str, budget: float, reached: int | None, workload: str = "clicks", seed: int = 0) -> Any:
    row = {"workload": workload, "length": 1, "seed": seed, "budget": budget, "contestant": contestant, "target": 0.5}
    return {**row, "reached": reached, "steps_to_find": 10, "best": 0.5 if reached else 0.6}
