"""A run with a rehearsal equals the run without one, on every rank of a distributed run."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.helpers.distributed import start_ranks, wait_for_ranks


# With three ranks the sum of gradients depends on the order of the terms; with two it would not.
@pytest.mark.parametrize(("case", "ranks"), [("ddp", 3), ("mean", 2), ("range test", 2), ("fsdp2", 2)])
def test_leaves_no_trace(case: str, ranks: int, tmp_path: Path) -> None:
    processes = start_ranks("rehearsal_rank", [case, str(tmp_path), str(ranks)], ranks)
    errors = wait_for_ranks(processes, timeout=400)
    assert [process.returncode for process in processes] == [0] * ranks, "\n".join(errors)


@pytest.mark.parametrize("case", ["fails", "search fails"])
def test_an_error_on_one_rank_ends_the_job_at_once(case: str, tmp_path: Path) -> None:
    processes = start_ranks("rehearsal_rank", [case, str(tmp_path), str(2)], 2)
    errors = wait_for_ranks(processes, timeout=300)
    assert time.time() - float((tmp_path / "failed").read_text()) < 30  # seconds since it was raised
    assert all(process.returncode not in (0, None) for process in processes)
    assert "ValueError: the user's own error" in errors[1]
