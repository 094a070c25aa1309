"""Ratios of wall times, taken in turn in one process, with their spread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping


def medians_and_ratios(runs: Mapping[str, Callable[[], None]], against: str, repeats: int) -> str:
    """Run each in turn ``repeats`` times behind a warm-up, and say in lines how they compare.

    The machine's load changes from minute to minute, so a ratio is taken within each round; its spread is the range
    over the rounds.

    Args:
        runs: what to time, by name.
        against: the name whose time is the denominator.
        repeats: rounds.
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
