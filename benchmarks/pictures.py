"""The pictures of ``docs/benchmarks.md``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.score import BUDGETS, Row
from lightning_lr.figure_style import CHOSEN, CURVE, OTHER, SMALL_LABEL_SIZE, TEXT_SIZE, finish_axes, new_figure

_DPI = 70  # keeps a picture below 60 KB
_FINDERS = {"LRRangeTest": (CHOSEN, "o"), "LRSearch": (CHOSEN, "s"), "fastai's lr_find (valley)": (OTHER, "v")}
_LIGHTNING = ("Lightning's LearningRateFinder", OTHER, "^")


def draw_score(lines: list[Row], is_ours: Callable[[str], bool], is_whole: bool, path: Path) -> None:
    """Bars of the shares that each contestant reaches, the best on top."""
    figure = new_figure(10, 0.45 * len(lines) + 1.2)
    axes = figure.subplots()
    for place, line in enumerate(reversed(lines)):
        color = CHOSEN if is_ours(line["contestant"]) else CURVE
        if is_whole:  # with both budgets
            axes.barh(place, line[f"share {BUDGETS[1]}"], 0.75, color=color, alpha=0.35)
        axes.barh(place, line[f"share {BUDGETS[0]}"], 0.4, color=color)
    axes.set_yticks(range(len(lines)), [line["contestant"] for line in reversed(lines)])
    axes.set_xlim(0, 1)
    words = "1.0 (thin) and 1.5 (wide)" if is_whole else "1.0"
    finish_axes(axes, f"share of targets reached in {words} of the steps", label_size=SMALL_LABEL_SIZE)
    _save(figure, path)


def draw_long_runs(rows: list[Row], path: Path) -> None:
    """For each workload the final loss of each constant rate, and what the finders suggest."""
    steps = max(row["steps"] for row in rows)
    rows = [row for row in rows if row["steps"] == steps and row["seed"] == rows[0]["seed"]]
    workloads = list(dict.fromkeys(row["workload"] for row in rows))
    figure = new_figure(5 * len(workloads), 4.6)
    for axes, workload in zip(figure.subplots(1, len(workloads), squeeze=False).flat, workloads, strict=True):
        grid = [row for row in rows if row["workload"] == workload and row["kind"] == "grid"]
        constant = [row for row in grid if row["schedule"] == "constant" and row["loss"] is not None]
        axes.plot([row["lr"] for row in constant], [row["loss"] for row in constant], "o-", color=CURVE, linewidth=2)
        for name, (color, marker) in {**_FINDERS, _LIGHTNING[0]: _LIGHTNING[1:]}.items():
            for row in rows:
                if (row["workload"], row.get("name")) == (workload, name):
                    low, high = axes.get_ylim()
                    axes.plot(row["lr"], low + 0.02 * (high - low), marker, color=color, markersize=11, label=name)
        axes.set_xscale("log")
        finish_axes(axes, "learning rate", "final loss", label_size=SMALL_LABEL_SIZE)
        axes.set_title(workload, fontsize=TEXT_SIZE)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=SMALL_LABEL_SIZE)
    _save(figure, path)


def draw_costs(rows: list[Row], is_ours: Callable[[str], bool], path: Path) -> None:
    """For each model, the time of a step with each callback against the bare loop, with the spread."""
    steps = [row for row in rows if row["kind"] == "step" and row["where"].endswith("every 50")]
    places = list(dict.fromkeys(row["where"] for row in steps))
    names = list(dict.fromkeys(row["what"] for row in steps))[::-1]
    figure = new_figure(4.2 + 2.6 * len(places), 0.42 * len(names) + 1.4)
    for axes, place in zip(figure.subplots(1, len(places), sharey=True, squeeze=False).flat, places, strict=True):
        for row in steps:
            if row["where"] == place:
                color = CHOSEN if is_ours(row["what"]) else CURVE
                height = names.index(row["what"])
                axes.plot([row["low"], row["high"]], [height, height], color=color, linewidth=3, alpha=0.4)
                axes.plot(row["ratio"], height, "o", color=color, markersize=8)
        axes.axvline(1, color=OTHER, linewidth=1)
        axes.set_yticks(range(len(names)), names)
        finish_axes(axes, "step / bare step", label_size=SMALL_LABEL_SIZE)
        axes.set_title(place.removesuffix(", logging every 50").replace(", ", ",\n"), fontsize=SMALL_LABEL_SIZE)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=_DPI)
