"""A run with a rehearsal equals the run without one, on every rank of a distributed run."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest


def start(case: str, folder: Path, ranks: int) -> list[subprocess.Popen[str]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {
        **os.environ,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "NODE_RANK": "0",
        "WORLD_SIZE": str(ranks),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, str(Path(__file__).with_name("ranks.py")), case, str(folder), str(ranks)]
    return [
        subprocess.Popen(command, env={**env, "LOCAL_RANK": str(rank)}, stderr=subprocess.PIPE, text=True)
        for rank in range(ranks)
    ]


def finish(processes: list[subprocess.Popen[str]], timeout: float) -> list[str]:
    """Wait for all; the standard errors."""
    end = time.monotonic() + timeout
    try:
        return [process.communicate(timeout=end - time.monotonic())[1] for process in processes]
    finally:
        for process in processes:
            process.kill()


# With three ranks the sum of gradients depends on its order.
@pytest.mark.parametrize(("case", "ranks"), [("ddp", 3), ("mean", 2), ("fsdp2", 2)])
def test_leaves_no_trace(case: str, ranks: int, tmp_path: Path) -> None:
    processes = start(case, tmp_path, ranks)
    errors = finish(processes, timeout=120)
    assert [process.returncode for process in processes] == [0] * ranks, "\n".join(errors)


@pytest.mark.parametrize("case", ["fails", "search fails"])
def test_an_error_on_one_rank_ends_the_job_at_once(case: str, tmp_path: Path) -> None:
    processes = start(case, tmp_path, 2)
    errors = finish(processes, timeout=60)
    assert all(process.returncode not in (0, None) for process in processes)
    assert "ValueError: the user's own error" in errors[1]
