"""Reports a range test: to the loggers and into files."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from lightning.pytorch import Trainer

from lightning_lr.optimizers.update_kind import UpdateKind
from lightning_lr.range_test.curve import LRCurve
from lightning_lr.range_test.figure import range_test_figure
from lightning_lr.range_test.rules import RULES, Rule
from lightning_lr.range_test.suggestion import Suggestion, suggest
from lightning_lr.trainer import loggers
from lightning_lr.trainer.output_files import report_file
from lightning_lr.trainer.suggestion_report import file_stem, log_suggestion, suggestion_fields, write_json
from lightning_lr.trainer.trackers import LRChart, log_chart

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def report_range_test(
    trainer: Trainer,
    suggestion: Suggestion,
    curve: LRCurve,
    rule: Rule,
    update: UpdateKind,
    steps_per_point: int,
    tag: str,
    output_dir: Path | None,
    arguments: Mapping[str, Any],
) -> None:
    """Report a range test.

    Args:
        trainer: whose loggers get the curve, the suggestion and the figure.
        suggestion: what will be used. The JSON file gets all its fields.
        curve: of the sweep.
        rule: by which it was read.
        update: the kind of the optimizer's updates, for the other rules in the figure.
        steps_per_point: optimizer steps between two points of the curve.
        tag: the first part of all logged keys.
        output_dir: folder for curve, suggestion and figure; None to write nothing.
        arguments: of the callback, for the JSON file.
    """
    step = loggers.current_step(trainer)
    read = {each: suggest(curve, each, update, steps_per_point).lr for each in RULES}
    finite = np.isfinite(curve.losses)

    def draw() -> Figure:
        return range_test_figure(curve, suggestion, read, rule)

    lrs, values = curve.lrs[finite].tolist(), curve.losses[finite].tolist()
    log_chart(trainer, LRChart(tag, curve.monitor, lrs, values, step, draw))
    for i, (lr, value, smoothed) in enumerate(zip(curve.lrs, curve.losses, curve.smoothed(), strict=True)):
        if math.isfinite(value):
            point = {"lr": lr, curve.monitor: value, f"{curve.monitor}_smoothed": smoothed}
            loggers.log_metrics(trainer, {f"{tag}/{key}": float(each) for key, each in point.items()}, step + i)
    log_suggestion(trainer, tag, suggestion, step)
    if not trainer.is_global_zero or (output_dir is None and not loggers.tensorboard_writers(trainer)):
        return  # nothing to draw the figure for
    loggers.log_vs_lr(trainer, f"{tag}/{curve.monitor}_vs_log10_lr_x1000", curve.lrs, curve.losses)
    record = _record(suggestion, curve, rule, read, trainer.current_epoch, step)
    loggers.log_record(trainer, f"{tag}/record", record, step)
    figure = draw()
    loggers.log_figure(trainer, f"{tag}/curve", figure, step)
    loggers.flush(trainer)
    if output_dir is None:
        return
    stem = file_stem(trainer, output_dir, "lr_range_test")
    with report_file(stem.with_suffix(".csv")) as path:
        curve.to_csv(path)
    write_json(
        stem.with_suffix(".json"),
        {
            **asdict(suggestion),
            "decay_lr": suggestion.decay_lr,
            "epoch": trainer.current_epoch,
            "monitor": curve.monitor,
            "rule": rule,
            "lrs_of_rules": read,
            "arguments": arguments,
        },
    )
    with report_file(stem.with_suffix(".png")) as path:
        figure.savefig(path)


def _record(
    suggestion: Suggestion, curve: LRCurve, rule: Rule, lrs_of_rules: Mapping[Rule, float], epoch: int, step: int
) -> dict[str, Any]:
    return {
        "kind": "range_test",
        "epoch": epoch,
        "step": step,
        "monitor": curve.monitor,
        "mode": curve.mode,
        "lrs": curve.lrs.tolist(),
        "values": curve.losses.tolist(),
        "smoothed": curve.smoothed().tolist(),
        "rule": rule,
        "lrs_of_rules": lrs_of_rules,
        **suggestion_fields(suggestion),
    }
