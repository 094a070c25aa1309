"""Start a module of `tests.helpers` in one process for each rank of a distributed run."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path

from tests.helpers.preloaded_python import preloaded_path

_ROOT = Path(__file__).resolve().parents[2]


def start_ranks(script: str, arguments: list[str], ranks: int) -> list[subprocess.Popen[str]]:
    """Run ``python -m tests.helpers.<script>`` once for each rank."""
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
    command = [f"{preloaded_path()}/python", "-m", f"tests.helpers.{script}", *arguments]
    return [
        subprocess.Popen(command, env={**env, "LOCAL_RANK": str(rank)}, cwd=_ROOT, stderr=subprocess.PIPE, text=True)
        for rank in range(ranks)
    ]


def wait_for_ranks(processes: list[subprocess.Popen[str]], timeout: float) -> list[str]:
    """Wait for all processes.

    Returns:
        What each wrote to standard error.
    """
    end = time.monotonic() + timeout
    try:
        return [process.communicate(timeout=end - time.monotonic())[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
