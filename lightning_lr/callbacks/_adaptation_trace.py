"""What `HypergradientLR` logs of its adaptation, in a form that a chart can show."""

from __future__ import annotations

import math
from collections.abc import Iterable

from lightning_lr.adaptation.adapted_optimizer import AdaptedOptimizer
from lightning_lr.adaptation.logged_values import logged_values
from lightning_lr.trainer.tensorboard_charts import Charts

ADAPTATION_CHARTS: Charts = {
    "Learning rate": {
        "alignment": r"^hypergradient/alignment/",
        "log10 of the scale": r"^hypergradient/log10_scale/",
    }
}

_SCALE = "hypergradient/scale/"
_LOG10_SCALE = "hypergradient/log10_scale/"
_NOT_FINITE = "hypergradient/not_finite/"


def values_to_log(optimizers: Iterable[AdaptedOptimizer]) -> dict[str, float]:
    """The values of `logged_values`, but the scale as its log10, and the count of bad measurements only above 0.

    Scales of several runs differ by many decades, so on a linear axis one of them flattens all others.
    """
    values: dict[str, float] = {}
    for key, value in logged_values(optimizers).items():
        if key.startswith(_SCALE):
            values[_LOG10_SCALE + key.removeprefix(_SCALE)] = math.log10(value) if value > 0 else -math.inf
        elif value or not key.startswith(_NOT_FINITE):
            values[key] = value
    return values
