"""The parts that the reports of a range test and of a search have in common."""

from __future__ import annotations

import json
import math
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Trainer

from lightning_lr.range_test.suggestion import SUGGESTION_FIELDS, Suggestion
from lightning_lr.trainer.loggers import log_metrics
from lightning_lr.trainer.output_files import report_file

# Logged key of a suggestion -> its field.
SUGGESTION_KEYS = {"suggested_lr": "lr", "base_lr": "base_lr", "max_lr": "max_lr"}


def log_suggestion(trainer: Trainer, tag: str, suggestion: Suggestion, step: int) -> None:
    """Log the suggested learning rate and the bounds of a cycle, under ``<tag>/``."""
    values = {f"{tag}/{key}": getattr(suggestion, field) for key, field in SUGGESTION_KEYS.items()}
    log_metrics(trainer, values, step)


def suggestion_fields(suggestion: Suggestion) -> dict[str, Any]:
    """The fields of a suggestion, without those that a subclass adds."""
    return {name: getattr(suggestion, name) for name in SUGGESTION_FIELDS}


def file_stem(trainer: Trainer, output_dir: Path, tag: str) -> Path:
    """The path of the files of a report, without their suffix."""
    return output_dir / (tag if trainer.current_epoch == 0 else f"{tag}_epoch_{trainer.current_epoch}")


def write_json(path: Path, fields: dict[str, Any]) -> None:
    """Write the fields of a result, and the versions of the packages that made it.

    Numbers that are not finite are written as null, since JSON has none.
    """
    versions = {name: version(name) for name in ("lightning_lr", "lightning", "torch")}
    with report_file(path) as unfinished:
        unfinished.write_text(json.dumps(_without_non_finite({**fields, "versions": versions}), indent=2) + "\n")


def _without_non_finite(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, dict):
        return {key: _without_non_finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_non_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
