"""The steps at which cycles start, peak and end, each cycle ``cycle_mult`` times as long as the one before."""

from __future__ import annotations

import math
from functools import lru_cache

# Cycles whose start, peak and end are kept, since every step of a cycle asks for them. Each optimizer needs the present
# cycle and the next one.
_CACHED_CYCLES = 64


def steps_of(up: float, down: float, cycle_mult: float, cycles: int) -> float:
    """Steps of the first ``cycles`` cycles together, not rounded: a geometric sum.

    The arguments up, down and cycle_mult are those of `lightning_lr.schedules.cyclical.Cyclical`.
    """
    return (up + down) * (cycles if cycle_mult == 1 else (cycle_mult**cycles - 1) / (cycle_mult - 1))


@lru_cache(maxsize=_CACHED_CYCLES)
def start_peak_end(up: float, down: float, cycle_mult: float, warmup: int, cycle: int) -> tuple[int, int, int]:
    """The steps at which a cycle, from 1, starts, peaks and ends, rounded. A warm-up comes before the first."""
    start = warmup + steps_of(up, down, cycle_mult, cycle - 1)
    peak = start + up * cycle_mult ** (cycle - 1)
    end = warmup + steps_of(up, down, cycle_mult, cycle)
    return math.floor(start + 0.5), math.floor(peak + 0.5), math.floor(end + 0.5)
