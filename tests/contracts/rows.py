"""The callbacks of the support matrix, and what each of them promises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from lightning_lr import (
    CyclicalLR,
    HypergradientLR,
    LRRangeTest,
    LRSearch,
    LRTrace,
    OneCycleLR,
    WarmupStableDecayLR,
)
from tests.helpers.lightning_classes import Callback

Promise = Literal["observes", "finds", "schedules", "adapts"]

# Few steps and a narrow range: the matrix has thousands of runs.
SWEEP: dict[str, Any] = {"min_lr": 1e-4, "max_lr": 0.1, "num_steps": 12}
SEARCH: dict[str, Any] = {"min_lr": 1e-2, "max_lr": 0.1}


class Row(NamedTuple):
    """A callback, or several that work together.

    Attributes:
        make: makes them.
        promise: of all, the weights are those of a run without them that uses the same learning rates. ``"observes"``:
            and the learning rates are those of the run without them. ``"finds"``: the first learning rate is the one
            that was found. ``"schedules"``: the learning rates are those of `preview`.
    """

    make: Callable[[], list[Callback]]
    promise: Promise


ROWS: dict[str, Row] = {
    "LRTrace": Row(lambda: [LRTrace()], "observes"),
    "LRRangeTest": Row(lambda: [LRRangeTest(**SWEEP, verify=False)], "finds"),
    "LRRangeTest, apply=False": Row(lambda: [LRRangeTest(**SWEEP, apply=False)], "observes"),
    "LRSearch": Row(lambda: [LRSearch(**SEARCH)], "finds"),
    "CyclicalLR": Row(lambda: [CyclicalLR(0.01, 0.1, step_size=2)], "schedules"),
    "OneCycleLR": Row(lambda: [OneCycleLR(0.1)], "schedules"),
    "WarmupStableDecayLR": Row(lambda: [WarmupStableDecayLR(0.1, warmup=2, decay="0.3run")], "schedules"),
    "HypergradientLR": Row(lambda: [HypergradientLR()], "adapts"),
    "HypergradientLR, adapt=False": Row(lambda: [HypergradientLR(adapt=False)], "observes"),
    "LRRangeTest, CyclicalLR, HypergradientLR": Row(
        lambda: [LRRangeTest(**SWEEP, verify=False), CyclicalLR(step_size=2), HypergradientLR()], "adapts"
    ),
}
