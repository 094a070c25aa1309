"""Some faults of all that ``make faults`` lets strike, at random points. The seed is fixed."""

from __future__ import annotations

import random

import pytest
import torch

from tests.contracts.trained import quiet
from tests.faults.catalogue import FAULT_ROWS, SEED, points_of_process, strike_all
from tests.faults.disk import run_with_full_disk
from tests.faults.ranks import points, strike_rank
from tests.faults.strike import Point
from tests.faults.training import HOOKS, MemoryLogger, StepNet, UsersCallback
from tests.helpers.fail_at import InjectedError, fail_at

FAULTS_PER_ROW = 7
LAST_ROW = FAULT_ROWS[-1]  # a range test, cycles and adaptation together

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="a process that has used CUDA cannot fork")


@pytest.mark.parametrize("row", FAULT_ROWS)
def test_one_process(row: str) -> None:
    with quiet():
        sample = random.Random(SEED).sample(points_of_process([row]), FAULTS_PER_ROW)
        assert [f"{point}: {wrong}" for point, wrong in strike_all(sample) if wrong] == []


FAILED_ONCE = {
    "the cleanup of a sweep hid an error before its first batch": (LAST_ROW, (StepNet, "on_train_start"), 1),
    "a resumed run did not set what was found before a report failed": ("LRSearch", (MemoryLogger, "log_metrics"), 2),
    "a resumed run shortened its first step": (LAST_ROW, (UsersCallback, "on_train_start"), 1),
}


@pytest.mark.parametrize("case", FAILED_ONCE)
def test_failed_once(case: str) -> None:
    row, hook, step = FAILED_ONCE[case]
    with quiet():
        assert strike_all([Point(row, HOOKS.index(hook), step, "exception")])[0][1] == []


@pytest.mark.parametrize("step", [1, 2])  # found at the start, and later
def test_full_disk(step: int) -> None:
    assert run_with_full_disk("CyclicalLR, snapshot_cycles", step)[1] == []


@pytest.mark.parametrize("kind", ["exception", "SIGKILL"])
def test_one_rank_of_two(kind: str) -> None:
    with quiet():
        (point,) = (point for point in points(["LRRangeTest"], ["ddp"], SEED) if point.kind == kind)
        assert strike_rank(point) == []


def test_fail_at_strikes_at_the_call_and_on_the_rank_that_were_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Owner:
        def hook(self) -> int:
            return 1

    original = Owner.hook
    with fail_at(Owner, "hook", step=2) as fault:
        assert Owner().hook() == 1
        with pytest.raises(InjectedError):
            Owner().hook()
        assert Owner().hook() == 1
        assert fault.calls == 3
        assert fault.struck_in("test_faults.py")
    assert Owner.hook is original
    monkeypatch.setenv("LOCAL_RANK", "1")
    with fail_at(Owner, "hook", step=1, rank=0):
        assert Owner().hook() == 1
