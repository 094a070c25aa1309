"""Wall times of several functions, run in turn in one process, and the spread of their ratios."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any


def medians_and_ratios(runs: Mapping[str, Callable[[], Any]], against: str, repeats: int) -> str:
    """Time each function once a round, after one round of warm-up, and return one line of text for each.

    Ratios are taken within a round, because the load of the machine changes from minute to minute. A line has the
    median time in seconds, the median ratio, and the range of the ratios over the rounds.

    Args:
        runs: the functions to time, by name.
        against: the name whose time is the denominator of the ratios.
        repeats: rounds that count.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for round_number in range(repeats + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if round_number:
                seconds[name].append(time.perf_counter() - start)
    lines = []
    for name, times in seconds.items():
        ratios = [mine / base for mine, base in zip(times, seconds[against], strict=True)]
        lines.append(
            f"{name:42} {statistics.median(times):7.3f} s   {statistics.median(ratios):5.2f} x"
            f" ({min(ratios):.2f} to {max(ratios):.2f})"
        )
    return "\n".join(lines)
