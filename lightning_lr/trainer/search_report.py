"""What a search found, in the terminal, to the loggers and into files."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from lightning_lr.search.bracket import Bracket
from lightning_lr.search.figure import search_figure
from lightning_lr.search.leaderboard import Candidate
from lightning_lr.search.result import SearchResult
from lightning_lr.search.verdicts import MEANINGS
from lightning_lr.trainer import loggers

_TAG = "lr_search"
_COLUMNS = ("lr", "verdict", "score", "rung", "steps", "why")
_CAPTION = "; ".join(f"{verdict}: {meaning}" for verdict, meaning in MEANINGS.items())
_STYLES = {"very high": "red", "high": "yellow", "good": "bold green", "low": "blue"}


def report_search(
    trainer: Trainer, bracket: Bracket, result: SearchResult, monitor: str, output_dir: Path | None
) -> None:
    """Print the leaderboard, and give every trial, the table and the figure to the loggers and the folder."""
    start = loggers.current_step(trainer)
    for i, outcome in enumerate(bracket.told):
        point = {"lr": outcome.lr, "rung": float(outcome.trial.rung)}
        if math.isfinite(outcome.score):
            point["score"] = bracket.sign * outcome.score
        loggers.log_metrics(trainer, {f"{_TAG}/{key}": value for key, value in point.items()}, start + i)
    found = {"suggested_lr": result.lr, "base_lr": result.base_lr, "max_lr": result.max_lr}
    loggers.log_metrics(trainer, {f"{_TAG}/{key}": value for key, value in found.items()}, start)
    if not trainer.is_global_zero:
        return
    Console().print(
        _table(result.candidates, f"LR search: {monitor} of {len(bracket.told)} trials, {result.steps} steps")
    )
    writers = loggers.tensorboard_writers(trainer)
    if output_dir is None and not writers:
        return
    for writer in writers:
        writer.add_text(f"{_TAG}/leaderboard", _markdown(result.candidates), start)
    figure = search_figure(result.candidates, bracket.every, monitor)
    loggers.log_figure(trainer, f"{_TAG}/trials", figure, start)
    if output_dir is not None:
        output_dir.mkdir(parents=True, exist_ok=True)
        stem = output_dir / (_TAG if trainer.current_epoch == 0 else f"{_TAG}_epoch_{trainer.current_epoch}")
        with stem.with_suffix(".csv").open("w", newline="") as file:
            csv.writer(file).writerows([_COLUMNS, *(_row(each) for each in result.candidates)])
        stem.with_suffix(".json").write_text(json.dumps(_plain(asdict(result)), indent=2) + "\n")
        figure.savefig(stem.with_suffix(".png"))


def _row(candidate: Candidate) -> list[str]:
    return [
        f"{candidate.lr:.3g}",
        candidate.verdict,
        f"{candidate.score:.4g}" if math.isfinite(candidate.score) else "",
        str(candidate.rung + 1),
        str(candidate.steps),
        candidate.why,
    ]


def _table(candidates: Sequence[Candidate], title: str) -> Table:
    table = Table(title=title, title_justify="left", caption=_CAPTION, caption_justify="left", box=SIMPLE_HEAD)
    for column in _COLUMNS:
        is_number = column not in ("verdict", "why")
        table.add_column(column, justify="right" if is_number else "left", no_wrap=column != "why")
    for each in candidates:
        table.add_row(*_row(each), style=_STYLES[each.verdict])
    return table


def _markdown(candidates: Sequence[Candidate]) -> str:
    rows = [_COLUMNS, ["---"] * len(_COLUMNS), *(_row(each) for each in candidates)]
    return "\n".join([*(f"| {' | '.join(row)} |" for row in rows), "", _CAPTION])


def _plain(value: Any) -> Any:
    """For JSON, which knows no number that is not finite."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
