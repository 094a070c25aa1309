"""Processor times of several functions, run in turn in one process."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any


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


def results_of(runs: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """What each function returns, once a round, after one round of warm-up.

    They alternate because the speed of the machine changes from minute to minute.

    Args:
        runs: the functions, by name.
        rounds: rounds that count.
    """
    results: dict[str, list[float]] = {name: [] for name in runs}
    for round_number in range(rounds + 1):
        for name, run in runs.items():
            result = run()
            if round_number:
                results[name].append(result)
    return results
