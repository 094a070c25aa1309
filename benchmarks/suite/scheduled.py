"""The schedules on top of which rules that adapt the learning rate are judged, and the best peak under each.

The gaps are those of `benchmarks.suite.truth`, against the best of a grid under the same schedule. The grid of
constant rates is that of `benchmarks.suite.record`. `benchmarks.suite.record_schedules` recorded the others.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks.suite.truth import Truth, truth_of

PATH = Path(__file__).with_name("schedules_truth.npz")
BASE_PER_PEAK = 1 / 4  # of triangular cycles
_HALF_CYCLES = 6  # of triangular cycles in a run: 100 steps each in a run of 600
WARM_UP_SHARE = 0.05  # of a run, before a cosine
Schedule = Literal["alone", "line", "cosine", "triangular", "warm-up and cosine"]
# Those that a best peak was recorded under.
SCHEDULES: tuple[Schedule, ...] = ("alone", "line", "cosine", "triangular")
RECORDED: tuple[Schedule, ...] = SCHEDULES[1:]


def step_size(steps: int) -> int:
    """Steps of half a triangular cycle."""
    return max(1, steps // _HALF_CYCLES)


def factor(schedule: Schedule, step: int, steps: int) -> float:
    """The learning rate of a step, from 0, divided by the peak.

    >>> [factor("triangular", step, 600) for step in (0, 50, 100, 200)]
    [0.25, 0.625, 1.0, 0.25]
    """
    if schedule == "line":
        return 1 - step / steps
    if schedule == "cosine":
        return (1 + math.cos(math.pi * step / steps)) / 2
    if schedule == "warm-up and cosine":
        warm_up = max(1, round(WARM_UP_SHARE * steps))
        return (step + 1) / warm_up if step < warm_up else factor("cosine", step - warm_up, steps - warm_up)
    if schedule == "triangular":
        rise = 1 - abs(step / step_size(steps) % 2 - 1)
        return BASE_PER_PEAK + (1 - BASE_PER_PEAK) * rise
    return 1.0


@cache
def truth_under(setting: str, schedule: Schedule) -> Truth:
    """The recorded final losses of a setting under a schedule."""
    constant = truth_of(setting)["constant"]
    if schedule == "alone":
        return constant
    with np.load(PATH) as data:
        lrs, losses = data[f"{setting}/{schedule}/lr"], data[f"{setting}/{schedule}/loss"]
    return Truth(lrs.astype(float), losses.astype(float).mean(0), constant.initial)
