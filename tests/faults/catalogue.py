"""All faults that are tried, and the report of them. ``python -m tests.faults`` runs them and prints the report."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from tests.contracts.rows import ROWS
from tests.contracts.trained import quiet
from tests.faults import disk, ranks, strike
from tests.faults.ranks import RankPoint
from tests.faults.strike import Point
from tests.faults.training import HOOKS, STEPS
from tests.helpers.fail_at import Kind
from tests.helpers.worker_pool import run_tasks

SEED = 20260101
# Rows without those whose code at these points is another row's.
FAULT_ROWS = [row for row in ROWS if "=False" not in row]
ENDING: tuple[Kind, ...] = ("exception", "out of memory", "KeyboardInterrupt", "SIGTERM", "SIGKILL")
NAN_AT: dict[Kind, str] = {"NaN loss": "training_step", "NaN gradient": "on_after_backward"}

_SURVIVED = (
    "A fault is survived if the run ends within seconds with the user's own error, or goes on; if no file is left, all"
    " objects can be used again, and a run resumed from the last checkpoint has the learning rates and weights of one"
    " that was never struck. A full disk that is found at the start is survived if it is refused"
    " in one sentence before anything is trained; one that is found later, if the run goes on."
)


class DiskPoint(NamedTuple):
    """The disk is full when this file is written."""

    writer: str
    step: int
    kind: Kind = "full disk"


AnyPoint = Point | RankPoint | DiskPoint


def points_of_process(rows: Sequence[str] = FAULT_ROWS, seed: int = SEED) -> list[Point]:
    """Every kind at a random call of every hook. What sweeps call too is struck in training as well."""
    draw, found = random.Random(seed), []
    for row in rows:
        for hook, calls in enumerate(strike.reference(row).calls):
            kinds = [*ENDING, *(kind for kind, name in NAN_AT.items() if HOOKS[hook][1] == name)]
            for kind in kinds if calls else ():
                found.append(Point(row, hook, draw.randint(1, calls), kind))
                if ROWS[row].promise != "schedules" and calls > 2 * STEPS:
                    found.append(Point(row, hook, draw.randint(calls - STEPS + 1, calls), kind))
    return found


def points_of_disk() -> list[DiskPoint]:
    return [DiskPoint(name, step + 1) for name in disk.WRITERS for step in range(disk.run_with_full_disk(name, 0)[0])]


def points_of_ranks(rows: Sequence[str] = FAULT_ROWS, seed: int = SEED) -> list[RankPoint]:
    return ranks.points(list(rows), ["ddp", "ModelParallelStrategy (FSDP2)"], seed)


def strike_at(point: AnyPoint) -> list[str]:
    """Let a fault strike. Returns what is not as it must be."""
    if isinstance(point, Point):
        return strike.strike(point)
    if isinstance(point, RankPoint):
        return ranks.strike_rank(point)
    return disk.run_with_full_disk(point.writer, point.step)[1]


def strike_all(points: Sequence[AnyPoint]) -> list[tuple[AnyPoint, list[str]]]:
    """Of each point, what is not as it must be."""
    return [(point, strike_at(point)) for point in points]


def _strike_row(row: str) -> list[tuple[AnyPoint, list[str]]]:
    return strike_all([*points_of_process([row]), *points_of_ranks([row])])


def _strike_disk(_: str) -> list[tuple[AnyPoint, list[str]]]:
    return strike_all(points_of_disk())


def strike_everywhere() -> list[tuple[AnyPoint, list[str]]]:
    """All faults, those of each row in one process."""
    with quiet():
        parts = [*run_tasks(_strike_row, FAULT_ROWS), *run_tasks(_strike_disk, [""])]
    return [each for part in parts for each in part]


def report(found: Sequence[tuple[AnyPoint, list[str]]]) -> list[str]:
    """A table of the faults by kind, and what went wrong."""
    tried, survived = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for point, wrong in found:
        key = point.kind, "two processes" if isinstance(point, RankPoint) else "one process"
        tried[key] += 1
        survived[key] += not wrong
    lines = [_SURVIVED, "", "| fault | processes | tried | survived |", "|---|---|---|---|"]
    lines += [f"| {kind} | {where} | {number} | {survived[kind, where]} |" for (kind, where), number in tried.items()]
    lines += [f"| all | | {tried.total()} | {survived.total()} |", ""]
    return lines + [f"- {point}: {wrong[0]}" for point, wrong in found if wrong]
