"""Processor times of several functions, run in turn in one process."""

from __future__ import annotations

import ctypes
import logging
import random
import resource
import time
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch

# Of malloc.h: bytes above which freed memory at the end of the heap is given back, and how many blocks are mapped
# outside of the heap, which are given back at once.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_MAX_INT = 2**31 - 1


def prepare_process() -> None:
    """One thread, denormal numbers flushed to 0, freed memory kept, and no messages."""
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    # Arithmetic with denormal numbers is many times slower, and each case comes to another number of them.
    torch.set_flush_denormal(True)
    keep_freed_memory()


def keep_freed_memory() -> None:
    """Let the C library keep memory that is freed, where it is glibc.

    Otherwise it gives memory back after some steps and not after others, as its heap happens to lie. A step of the
    small CNN of `benchmarks.costs` then takes up to a fifth longer, with callbacks or without: what they add is hidden.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, _MAX_INT)
        mallopt(_M_MMAP_MAX, 0)


def cpu_seconds() -> float:
    """What this process and those that it started and waited for have used of the processor."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def seconds_of(runs: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """The seconds of the processor that each function takes, see `results_of`."""

    def timed(run: Callable[[], Any]) -> float:
        start = cpu_seconds()
        run()
        return cpu_seconds() - start

    return results_of({name: partial(timed, run) for name, run in runs.items()}, rounds)


def results_of(runs: Mapping[str, Callable[[], float]], rounds: int, seed: int = 0) -> dict[str, list[float]]:
    """What each function returns, once a round.

    They alternate because the speed of the machine changes from minute to minute. Each round has an order of its own,
    since what ran before leaves the caches in its state: with one order, a callback after a cheap one seemed cheaper.
    There is no round of warm-up: the caller runs them before, or they leave out what takes longer at first.

    Args:
        runs: the functions, by name.
        rounds: how often each is called.
        seed: of the orders.
    """
    results: dict[str, list[float]] = {name: [] for name in runs}
    orders = random.Random(seed)
    for _ in range(rounds):
        for name in orders.sample(list(runs), len(runs)):
            results[name].append(runs[name]())
    return results
