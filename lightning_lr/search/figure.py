"""The figure of a search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from lightning_lr.arguments import checked, choice, instance_of, key, learning_rate, list_of, optional, whole
from lightning_lr.figure_style import (
    CHOSEN,
    LABEL_SIZE,
    NORMAL,
    OTHER,
    TEXT,
    TEXT_SIZE,
    THICK,
    THIN,
    finish_axes,
    new_figure,
)
from lightning_lr.range_test.smoothing import Array, fill_gaps, smooth
from lightning_lr.search.leaderboard import Candidate
from lightning_lr.search.verdicts import MEANINGS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# All chosen by eye. Colours are for the learning rates from this part of the best one up to this multiple.
COLOURS_BELOW, COLOURS_ABOVE = 300, 30
# Limits of the loss axis in falls of the best one: at most FAR from the start, and at most NEAR on the worse side. In a
# trained model the best one hardly falls: there this share of all that is shown lies within the limits.
FAR, NEAR = 2.0, 0.4
SHOWN_SHARE = 0.85
# From this ratio of the limits on the axis is logarithmic.
LOG_RATIO = 10
MARGIN = 0.06  # share of the height
# Room for the names right of the curves, as a share of their length, and the least distance between two names, as a
# share of the height.
NAMES_WIDTH = 0.32
NAMES_GAP = 0.075


@checked(
    candidates=list_of(instance_of(Candidate, what="a Candidate"), "the candidates of a leaderboard"),
    every=whole(at_least=1),
    monitor=key,
    mode=choice(("min", "max")),
    suggested_lr=optional(learning_rate),
)
def search_figure(
    candidates: Sequence[Candidate],
    every: int = 1,
    monitor: str = "loss",
    mode: Literal["min", "max"] = "min",
    suggested_lr: float | None = None,
) -> Figure:
    """The recorded values of every trial, coloured by the learning rate. One trial of each verdict is named.

    Args:
        candidates: the best first.
        every: optimizer steps between two values.
        monitor: name of what was recorded.
        mode: whether less (``"min"``) or more (``"max"``) of it is better.
        suggested_lr: `SearchResult.lr`, for the title. It need not be the best of those that were tried.
    """
    from matplotlib import colormaps, colors
    from matplotlib.cm import ScalarMappable

    figure = new_figure(9, 5.5)
    axes = figure.add_subplot()
    best, *others = candidates
    lrs = [each.lr for each in candidates]
    lowest, highest = max(min(lrs), best.lr / COLOURS_BELOW), min(max(lrs), COLOURS_ABOVE * best.lr)
    norm, colormap = colors.LogNorm(lowest, highest, clip=True), colormaps["viridis"]
    for each in reversed(others):
        axes.plot(_steps(each, every), _smoothed(each), color=colormap(norm(each.lr)), linewidth=NORMAL)
    axes.plot(_steps(best, every), _smoothed(best), color=CHOSEN, linewidth=THICK, zorder=3)

    low, high = _loss_limits(candidates, mode)
    is_log = low > 0 and high / low >= LOG_RATIO
    axes.set_yscale("log" if is_log else "linear")
    axes.set_ylim(*_with_margin(low, high, is_log))
    end = every * len(best.values)
    axes.set_xlim(0, (1 + NAMES_WIDTH) * end)
    axes.set_xticks([tick for tick in axes.get_xticks() if tick <= end])
    _name_verdicts(axes, candidates, every, mode)
    colorbar = figure.colorbar(ScalarMappable(norm, colormap), ax=axes, extend="both")
    colorbar.set_label("learning rate", fontsize=LABEL_SIZE)
    finish_axes(axes, "optimizer step", monitor, _title(best.lr, suggested_lr))
    return figure


def _title(best_lr: float, suggested_lr: float | None) -> str:
    best = f"{best_lr:.2g}"
    suggested = best if suggested_lr is None else f"{suggested_lr:.2g}"
    return f"best trial: lr = {best}" if suggested == best else f"lr = {suggested} (best trial: {best})"


def _steps(candidate: Candidate, every: int) -> Array:
    """The optimizer step of each value, from 1."""
    return every * np.arange(1.0, len(candidate.values) + 1)


def _smoothed(candidate: Candidate) -> Array:
    return smooth(fill_gaps(np.array(candidate.values)))


def _start(candidate: Candidate) -> float:
    return float(fill_gaps(np.array(candidate.values))[0])


def _loss_limits(candidates: Sequence[Candidate], mode: str) -> tuple[float, float]:
    """All of the best one, and of the others what is not much worse than its start. Else it would be a flat line."""
    start, of_best = _start(candidates[0]), _smoothed(candidates[0])
    shown = np.concatenate([_smoothed(each) for each in candidates if each.verdict != "very high"])
    fall = abs(start - candidates[0].score) or 1.0
    below, above = (FAR, NEAR) if mode == "min" else (NEAR, FAR)
    least, most = start - below * fall, start + above * fall
    if mode == "min":
        most = max(most, float(np.nanquantile(shown, SHOWN_SHARE)))
    else:
        least = min(least, float(np.nanquantile(shown, 1 - SHOWN_SHARE)))
    low = min(float(np.nanmin(of_best)), max(float(np.nanmin(shown)), least))
    high = max(float(np.nanmax(of_best)), min(float(np.nanmax(shown)), most))
    return low, high


def _with_margin(low: float, high: float, is_log: bool) -> tuple[float, float]:
    if is_log:
        factor = (high / low) ** MARGIN
        return low / factor, high * factor
    margin = MARGIN * (high - low) or 1.0
    return low - margin, high + margin


def _name_verdicts(axes: Axes, candidates: Sequence[Candidate], every: int, mode: str) -> None:
    """Write each verdict at the right, with a line to the end of one of its curves. No name covers another."""
    best_of_verdict = {each.verdict: each for each in reversed(candidates)}
    best_of_verdict["good"] = candidates[0]
    low, high = axes.get_ylim()
    worse_end = high if mode == "min" else low
    ends = []  # of one curve for each verdict: value, step, verdict
    for verdict, each in best_of_verdict.items():
        values = _smoothed(each)
        inside = np.flatnonzero((values >= low) & (values <= high))
        last = int(inside[-1]) if len(inside) else 0
        value = worse_end if verdict == "very high" else float(np.clip(values[last], low, high))
        ends.append((value, every * (last + 1), verdict))
    ends.sort()
    to_axes = axes.transScale.transform
    on_axes = to_axes([(1.0, value) for value in (low, high, *(value for value, _, _ in ends))])[:, 1].tolist()
    spread = _spread(on_axes[2:], *on_axes[:2])
    heights = axes.transScale.inverted().transform([(1.0, height) for height in spread])[:, 1].tolist()
    for (value, step, verdict), height in zip(ends, heights, strict=True):
        axes.annotate(
            "good" if verdict == "good" else f"{verdict}: {MEANINGS[verdict]}",
            (step, value),
            (every * len(candidates[0].values) * 1.02, height),
            fontsize=TEXT_SIZE,
            fontweight="bold" if verdict == "good" else "normal",
            color=CHOSEN if verdict == "good" else TEXT,
            va="center",
            arrowprops={"arrowstyle": "-", "color": OTHER, "linewidth": THIN},
            annotation_clip=False,
        )


def _spread(heights: Sequence[float], low: float, high: float) -> list[float]:
    """Rising heights moved apart to the least distance of two names, between the limits."""
    gap = NAMES_GAP * (high - low)
    spread = []
    least = low + gap / 3
    for height in heights:
        spread.append(max(height, least))
        least = spread[-1] + gap
    most = high - gap / 3
    for i in reversed(range(len(spread))):
        spread[i] = min(spread[i], most)
        most = spread[i] - gap
    return spread
