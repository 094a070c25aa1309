"""What `HypergradientLR` logs of its adaptation. To log one more value, add a line here."""

from __future__ import annotations

import math
from collections.abc import Iterable

from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_info

from lightning_lr.adaptation.adapted_optimizer import AdaptedOptimizer
from lightning_lr.trainer import loggers
from lightning_lr.trainer.tensorboard_charts import Charts

ADAPTATION_CHARTS: Charts = {
    "Learning rate": {
        "alignment": r"^(.+-)?hypergradient/alignment/",
        "log10 of the scale": r"^(.+-)?hypergradient/log10_scale/",
    }
}


def values_to_log(optimizers: Iterable[AdaptedOptimizer]) -> dict[str, float]:
    """Key -> value; the table in the docstring of `HypergradientLR` says what each is.

    Scales of several runs differ by many decades, so on a linear axis one of them flattens all others. The count of
    bad measurements is there only above 0.
    """
    values: dict[str, float] = {}
    for optimizer in optimizers:
        controller = optimizer.controller
        for name, group in optimizer.report.named_groups():
            scale = group.scale * controller.scales.used_decay_factor
            values[f"hypergradient/alignment/{name}"] = group.alignment.cosine
            values[f"hypergradient/log10_scale/{name}"] = math.log10(scale) if scale > 0 else -math.inf
            values[f"hypergradient/turns/{name}"] = group.rule.sign_changes
        if controller.not_finite:
            values[f"hypergradient/not_finite/{optimizer.name}"] = controller.not_finite
    return values


def say_verdicts(trainer: Trainer, optimizers: Iterable[AdaptedOptimizer]) -> None:
    """What the alignments of an epoch say of the learning rates, to the user and to TensorBoard."""
    for text in (text for adapted in optimizers for text in adapted.report.verdicts()):
        rank_zero_info(f"HypergradientLR: {text}")
        for writer in loggers.tensorboard_writers(trainer):
            writer.add_text("hypergradient/verdict", text, loggers.current_step(trainer))
