"""Reports a search: to the terminal, to the loggers and into files."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lightning.pytorch import Trainer
from rich.console import Console

from lightning_lr.search.bracket import Bracket
from lightning_lr.search.figure import search_figure
from lightning_lr.search.leaderboard import leaderboard_markdown, leaderboard_rows, leaderboard_table
from lightning_lr.search.result import SearchResult
from lightning_lr.trainer import loggers
from lightning_lr.trainer.output_files import report_file
from lightning_lr.trainer.progress_bar import is_verbose
from lightning_lr.trainer.suggestion_report import file_stem, log_suggestion, suggestion_fields, write_json
from lightning_lr.trainer.trackers import LRChart, log_chart

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def report_search(
    trainer: Trainer,
    bracket: Bracket,
    result: SearchResult,
    monitor: str,
    tag: str,
    output_dir: Path | None,
    arguments: Mapping[str, Any],
) -> None:
    """Report a search that is done.

    Args:
        trainer: whose loggers get the trials, the suggestion, the leaderboard and the figure.
        bracket: the search.
        result: its result.
        monitor: name of what was compared.
        tag: the first part of all logged keys.
        output_dir: folder for leaderboard, result and figure; None to write nothing.
        arguments: of the callback, for the JSON file.
    """
    step = loggers.current_step(trainer)
    mode: Literal["min", "max"] = "min" if bracket.sign > 0 else "max"
    scored = sorted((each.lr, each.score) for each in result.candidates if math.isfinite(each.score))
    lrs, scores = ([point[i] for point in scored] for i in (0, 1))

    def draw() -> Figure:
        return search_figure(result.candidates, bracket.every, monitor, mode, result.lr)

    log_chart(trainer, LRChart(tag, "score", lrs, scores, step, draw))
    for i, outcome in enumerate(bracket.told):
        point = {f"{tag}/lr": outcome.lr}
        if math.isfinite(outcome.score):
            point[f"{tag}/score"] = bracket.sign * outcome.score
        # Lines over the number of the trial show nothing. TensorBoard gets the scores against the learning rate.
        loggers.log_metrics(trainer, point, step + i, to_tensorboard=False)
    log_suggestion(trainer, tag, result, step)
    if not trainer.is_global_zero:
        return
    if is_verbose(trainer):
        title = f"LR search: {monitor} of {len(bracket.told)} trials, {result.steps} steps"
        Console().print(leaderboard_table(result.candidates, title))
    writers = loggers.tensorboard_writers(trainer)
    if output_dir is None and not writers:
        return  # nothing to draw the figure for
    for writer in writers:
        writer.add_text(f"{tag}/leaderboard", leaderboard_markdown(result.candidates), step)
    loggers.log_vs_lr(trainer, f"{tag}/score_vs_log10_lr_x1000", lrs, scores)
    record = _record(result, bracket.every, monitor, mode, trainer.current_epoch, step)
    loggers.log_record(trainer, f"{tag}/record", record, step)
    figure = draw()
    loggers.log_figure(trainer, f"{tag}/trials", figure, step)
    loggers.flush(trainer)
    if output_dir is None:
        return
    stem = file_stem(trainer, output_dir, "lr_search")
    with report_file(stem.with_suffix(".csv")) as path, path.open("w", newline="") as file:
        csv.writer(file).writerows(leaderboard_rows(result.candidates))
    write_json(
        stem.with_suffix(".json"),
        {
            **asdict(result),
            "decay_lr": result.decay_lr,
            "epoch": trainer.current_epoch,
            "monitor": monitor,
            "mode": mode,
            "arguments": arguments,
        },
    )
    with report_file(stem.with_suffix(".png")) as path:
        figure.savefig(path)


def _record(result: SearchResult, every: int, monitor: str, mode: str, epoch: int, step: int) -> dict[str, Any]:
    return {
        "kind": "search",
        "epoch": epoch,
        "step": step,
        "monitor": monitor,
        "mode": mode,
        "every": every,
        "candidates": [asdict(each) for each in result.candidates],
        **suggestion_fields(result),
    }
