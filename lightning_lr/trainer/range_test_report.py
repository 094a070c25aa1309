"""What a range test found, to the loggers and into files."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path

from lightning.pytorch import Trainer

from lightning_lr.range_test import figure as plots
from lightning_lr.range_test.curve import LRCurve
from lightning_lr.range_test.suggestion import RULES, Rule, Suggestion, suggest
from lightning_lr.trainer import loggers

_TAG = "lr_range_test"


def report_range_test(
    trainer: Trainer, curve: LRCurve, suggestion: Suggestion, rule: Rule, momentum: bool, output_dir: Path | None
) -> None:
    """The curve and the result to the loggers, the figure to TensorBoard and all of it to ``output_dir``."""
    start = loggers.current_step(trainer)
    smoothed = curve.smoothed()
    for i, (lr, value, smooth) in enumerate(zip(curve.lrs, curve.losses, smoothed, strict=True)):
        if math.isfinite(value):
            point = {"lr": lr, curve.monitor: value, f"{curve.monitor}_smoothed": smooth}
            loggers.log_metrics(trainer, {f"{_TAG}/{key}": float(v) for key, v in point.items()}, start + i)
    found = {"suggested_lr": suggestion.lr, "base_lr": suggestion.base_lr, "max_lr": suggestion.max_lr}
    loggers.log_metrics(trainer, {f"{_TAG}/{key}": v for key, v in found.items()}, start)
    if not trainer.is_global_zero or (output_dir is None and not loggers.tensorboard_writers(trainer)):
        return
    loggers.log_loss_vs_lr(trainer, f"{_TAG}/{curve.monitor}_vs_log10_lr_x1000", curve.lrs, curve.losses)
    figure = plots.range_test_figure(curve, {each: suggest(curve, each, momentum) for each in RULES}, rule)
    loggers.log_figure(trainer, f"{_TAG}/curve", figure, start)
    if output_dir is not None:
        output_dir.mkdir(parents=True, exist_ok=True)
        stem = output_dir / (_TAG if trainer.current_epoch == 0 else f"{_TAG}_epoch_{trainer.current_epoch}")
        curve.to_csv(stem.with_suffix(".csv"))
        stem.with_suffix(".json").write_text(json.dumps(asdict(suggestion), indent=2) + "\n")
        figure.savefig(stem.with_suffix(".png"))
