"""Run tasks on all processors, each worker with one thread and in an empty folder of its own."""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

import torch

Task = TypeVar("Task")
Result = TypeVar("Result")


def _prepare() -> None:
    torch.set_num_threads(1)
    os.chdir(tempfile.mkdtemp())  # so that files that are left are seen


def run_tasks(function: Callable[[Task], Result], tasks: Sequence[Task]) -> list[Result]:
    """The results of a function, in the order of the tasks."""
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context, initializer=_prepare) as pool:
        futures = [pool.submit(function, task) for task in tasks]
        for done, _ in enumerate(as_completed(futures), 1):
            print(f"\r{done} of {len(tasks)} parts", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return [future.result() for future in futures]
