"""What each row of the support matrix promises, checked on a run with its callbacks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.contracts.loops import LOOPS
from tests.contracts.rows import Promise
from tests.contracts.trained import Trained, train

RANKS_DIFFER = "the ranks end with different weights or learning rates"


def broken_promises(
    promise: Promise, strategy: str, precision: str, loop: str, plain: Trained, trained: Trained
) -> Iterator[str]:
    """What is not as promised.

    Args:
        promise: of the row.
        strategy: of the run without the callbacks.
        precision: of both runs.
        loop: of both runs.
        plain: the run without the callbacks.
        trained: the run with them.
    """
    rates, has_steps = trained.rates.recorded, LOOPS[loop].steps > 0
    steps, plain_steps = ([len(each) for each in run.rates.recorded] for run in (trained, plain))
    if has_steps and steps != plain_steps:
        yield f"{steps} optimizer steps instead of {plain_steps}"
    if not all(math.isfinite(lr) for each in rates for lrs in each for lr in lrs):
        yield "a learning rate is not finite"
    if promise == "observes" and has_steps:
        if rates != plain.rates.recorded:
            yield "the learning rates are not those of a run without it"
        if not _equal(trained.weights, plain.weights):
            yield "the weights are not those of a run without it"
    else:
        same = train(strategy, precision, loop, replayed=trained.rates, steps=0 if has_steps else trained.steps)
        if same.error is not None or not _equal(trained.weights, same.weights):
            yield "the weights are not those of a run without it that uses the same learning rates"
    used = [[max(lrs) for lrs in each] for each in rates]
    callback: Any = trained.callbacks[0]
    if promise == "finds":
        yield from _wrong_start(callback.result, used)
    elif promise == "schedules" and has_steps and loop != "fast_dev_run":  # which may cut a schedule
        run_steps = LOOPS[loop].steps
        if max(plain_steps) == run_steps // 2:  # two processes share the batches of the epochs
            run_steps //= 2
        yield from _wrong_schedule(callback.preview(run_steps).lr.tolist(), used)
    if len(set(trained.same_on_ranks)) > 1:
        yield RANKS_DIFFER
    if isinstance(plain.goes_on, int) and trained.goes_on != plain.goes_on:
        yield f"another fit ends with {trained.goes_on} instead of step {plain.goes_on}"
    if files := [path for path in Path.cwd().rglob("*") if path.is_file()]:
        for path in files:
            path.unlink()
        yield f"files left: {', '.join(path.name for path in files)}"


def _wrong_start(result: Any, used: Sequence[Sequence[float]]) -> Iterator[str]:
    if result is not None:  # with fast_dev_run, and in the main process of others
        first = max(each[0] for each in used if each)
        if not any(math.isclose(first, lr, rel_tol=0.01) for lr in (result.lr, result.max_lr)):
            yield f"training starts at {first} instead of {result.lr}"


def _wrong_schedule(expected: list[float], used: Sequence[Sequence[float]]) -> Iterator[str]:
    for each in used:
        # a step that was skipped is not one; a tensor may be a 16-bit number
        if each != pytest.approx(expected[: len(each)], rel=0.01, abs=1e-6):
            yield f"learning rates {each} instead of {expected}"


def _equal(first: Sequence[Tensor], second: Sequence[Tensor]) -> bool:
    return len(first) == len(second) and all(
        torch.equal(a.nan_to_num(1.0, 2.0, 3.0), b.nan_to_num(1.0, 2.0, 3.0))
        for a, b in zip(first, second, strict=True)
    )
