"""Run a function on several ranks of a distributed run, in processes that are forked and so need no imports."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import socket
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


class Ended(NamedTuple):
    """How a rank has ended.

    Attributes:
        value: what the function returned; None if it did not.
        error: the traceback of what it raised.
        exit_code: of the process: negative for a signal, None if it had to be killed.
        seconds: from its start to its end.
    """

    value: Any
    error: str
    exit_code: int | None
    seconds: float


def run_ranks(function: Callable[[], Any], ranks: int = 2, timeout: float = 60.0) -> list[Ended]:
    """Call a function in one process for each rank. Processes that have not ended after ``timeout`` are killed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, str(rank)) for rank in range(ranks)]
        processes = [
            context.Process(target=_run, args=(function, rank, ranks, port, file)) for rank, file in enumerate(files)
        ]
        start, ends = time.monotonic(), [timeout] * ranks
        for process in processes:
            process.start()
        while time.monotonic() - start < timeout and any(process.is_alive() for process in processes):
            for i, process in enumerate(processes):
                if not process.is_alive():
                    ends[i] = min(ends[i], time.monotonic() - start)
            time.sleep(0.02)
        exit_codes = [process.exitcode for process in processes]
        for process in processes:
            process.kill()
            process.join()
        found = [pickle.loads(file.read_bytes()) if file.exists() else (None, "") for file in files]
    return [Ended(value, error, code, end) for (value, error), code, end in zip(found, exit_codes, ends, strict=True)]


def _run(function: Callable[[], Any], rank: int, ranks: int, port: int, file: Path) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NODE_RANK": "0"}
    os.environ |= {"WORLD_SIZE": str(ranks), "LOCAL_RANK": str(rank)}
    value, error = None, ""
    try:
        value = function()
    except BaseException:
        error = traceback.format_exc()
    file.write_bytes(pickle.dumps((value, error)))
    os._exit(1 if error else 0)  # a process group that has lost a rank must not wait for it
