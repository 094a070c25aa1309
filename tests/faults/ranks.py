"""A fault on one rank of two: the job ends soon with the user's own error, and the last checkpoint resumes it."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from tests.contracts.rows import ROWS
from tests.contracts.settings import STRATEGIES
from tests.contracts.trained import quiet
from tests.faults.training import HOOKS, Run
from tests.helpers.fail_at import Kind, fail_at
from tests.helpers.forked_ranks import Ended, run_ranks

KINDS: tuple[Kind, ...] = (
    "exception",
    "out of memory",
    "KeyboardInterrupt",
    "SIGTERM",
    "SIGKILL",
    "NaN loss",
    "slow rank",
)
SECONDS = 60.0  # within which all processes must have ended
# Hooks between which a rank waits for the other one, and that a finder calls in its trials too.
RANK_HOOKS = ("training_step", "on_after_backward", "on_before_optimizer_step", "on_train_batch_start", "log_metrics")


class RankPoint(NamedTuple):
    """Where a fault strikes one rank, or both: Lightning's handler of SIGTERM waits for the other ranks."""

    row: str
    strategy: str
    hook: int  # position in `HOOKS`
    step: int
    rank: int | None
    kind: Kind

    def __str__(self) -> str:
        _, name = HOOKS[self.hook]
        rank = "all ranks" if self.rank is None else f"rank {self.rank}"
        return f"{self.kind} on {rank}, call {self.step} of {name}, {self.row}, {self.strategy}"


def _train(row: str, strategy: str, folder: Path, ckpt_path: Path | None = None) -> tuple[Any, str]:
    """Of this rank: weights and learning rates, and what ended the training."""
    with quiet():
        run = Run(ROWS[row].make(), folder, STRATEGIES[strategy]())
        error = run.fit(ckpt_path)
        return (run.result if error is None else None), repr(error) if error is not None else ""


@cache
def reference(row: str, strategy: str) -> tuple[list[Any], list[int]]:
    """Of each rank what it trains; and how often the first one calls each of `HOOKS`."""

    def whole() -> tuple[Any, str, list[int]]:
        faults = [fail_at(owner, hook, step=0) for owner, hook in HOOKS]
        counted = [fault.__enter__() for fault in faults]
        return *_train(row, strategy, Path(folder, "whole")), [fault.calls for fault in counted]

    with TemporaryDirectory() as folder:
        ranks = run_ranks(whole, timeout=SECONDS)
    assert all(rank.value is not None and not rank.value[1] for rank in ranks), ranks
    return [rank.value[0] for rank in ranks], ranks[0].value[2]


def points(rows: list[str], strategies: list[str], seed: int) -> list[RankPoint]:
    """A point for each row, strategy and kind, at random hooks, calls and ranks."""
    draw, found = random.Random(seed), []
    hooks = [i for i, (_, name) in enumerate(HOOKS) if name in RANK_HOOKS]
    for row in rows:
        for strategy in strategies:
            calls = reference(row, strategy)[1]
            for kind in KINDS:
                hook = draw.choice([i for i in hooks if calls[i]])
                if kind == "NaN loss":
                    hook = next(i for i in hooks if HOOKS[i][1] == "training_step")
                rank = None if kind == "SIGTERM" else draw.randint(0, 1)
                found.append(RankPoint(row, strategy, hook, draw.randint(1, calls[hook]), rank, kind))
    return found


def strike_rank(point: RankPoint) -> list[str]:
    """Strike, then resume. Returns what is not as it must be."""
    expected = reference(point.row, point.strategy)[0]
    with TemporaryDirectory() as name:
        folder = Path(name, "struck")
        with fail_at(*HOOKS[point.hook], step=point.step, rank=point.rank, kind=point.kind):
            ranks = run_ranks(lambda: _train(point.row, point.strategy, folder), timeout=SECONDS)
        wrong = _wrong_ends(point, ranks, expected)
        paths = sorted(path for path in folder.glob("*.ckpt") if "exception" not in path.name)
        # with sharded parameters the mean that HypergradientLR keeps is begun anew, as documented
        is_exact = not ("HypergradientLR" in point.row and "FSDP2" in point.strategy)
        if paths and point.kind != "NaN loss":
            resumed = run_ranks(
                lambda: _train(point.row, point.strategy, Path(name, "resumed"), paths[-1]), timeout=SECONDS
            )
            for rank, whole in zip(resumed, expected, strict=True):
                if rank.value is None or rank.value[1]:
                    wrong.append(f"resumed: {rank.value or rank.error or rank.exit_code}")
                elif is_exact and _differ(rank.value[0], whole):
                    wrong.append(f"resumed from {paths[-1].name}: {rank.value[0]} instead of {whole}")
    return wrong


def _differ(resumed: Any, whole: Any) -> bool:
    return bool(resumed[0] != whole[0] or not resumed[1].items() <= whole[1].items())


def _wrong_ends(point: RankPoint, ranks: list[Ended], expected: list[Any]) -> list[str]:
    struck = ranks[point.rank or 0]
    wrong = [f"rank {i} still ran after {SECONDS} s" for i, rank in enumerate(ranks) if rank.exit_code is None]
    if wrong:
        return wrong
    if point.kind == "slow rank":
        values = [rank.value and rank.value[0] for rank in ranks]
        return [] if values == expected else [f"ended with {values} instead of {expected}"]
    if point.kind == "NaN loss":
        return [f"ended with {rank.error or rank.value[1]}" for rank in ranks if rank.value is None or rank.value[1]]
    if point.kind == "SIGKILL":
        return [] if struck.exit_code == -9 else [f"ended with {struck}"]
    own = {"exception": "InjectedError", "out of memory": "OutOfMemoryError", "KeyboardInterrupt": "SystemExit"}
    own["SIGTERM"] = "SIGTERMException"
    if struck.value is None or not struck.value[1].startswith(own[point.kind]):
        return [f"ended with {struck.error or struck.value or struck.exit_code}"]
    return []
