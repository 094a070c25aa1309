"""The figure of a search. matplotlib is imported when it is drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lightning_lr.search.leaderboard import Candidate
from lightning_lr.search.verdicts import MEANINGS, Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BEST = "#c0392b"


def search_figure(candidates: Sequence[Candidate], every: int = 1, monitor: str = "loss") -> Figure:
    """What every trial recorded, coloured by its learning rate, with a name for one of each verdict.

    Args:
        candidates: the best first.
        every: optimizer steps between two values.
        monitor: name of what was recorded.
    """
    from matplotlib import colormaps, colors
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.add_subplot()
    best, *others = candidates
    lrs = [each.lr for each in candidates]
    # the colours are for the decades that matter, not for those far below
    norm = colors.LogNorm(max(min(lrs), best.lr / 300), min(max(lrs), 30 * best.lr), clip=True)
    colormap = colormaps["viridis"]
    for each in reversed(others):
        values = _smoothed(each)
        axes.plot(every * np.arange(1, len(values) + 1), values, color=colormap(norm(each.lr)), linewidth=1.8)
    values = _smoothed(best)
    axes.plot(every * np.arange(1, len(values) + 1), values, color=_BEST, linewidth=4, zorder=3)

    low, high = _limits(candidates)
    axes.set_ylim(low, high)
    end = every * len(best.values)
    axes.set_xlim(0, 1.32 * end)  # with room for the names
    axes.set_xticks([tick for tick in axes.get_xticks() if tick <= end])
    _name_one_of_each(axes, candidates, every, low, high)
    figure.colorbar(ScalarMappable(norm, colormap), ax=axes, extend="both").set_label("learning rate", fontsize=16)
    axes.set_title(f"lr = {best.lr:.2g}", fontsize=24, color=_BEST, fontweight="bold")
    axes.set_xlabel("optimizer step", fontsize=18)
    axes.set_ylabel(monitor, fontsize=18)
    axes.tick_params(labelsize=14)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return figure


def _smoothed(candidate: Candidate) -> Array:
    """A trailing mean over a twentieth of the curve, which begins where the curve does."""
    values = np.array(candidate.values)
    total, window = np.cumsum(values), max(1, len(values) // 20)
    total[window:] -= total[:-window].copy()
    smoothed: Array = total / np.minimum(np.arange(1, len(values) + 1), window)
    return smoothed


def _limits(candidates: Sequence[Candidate]) -> tuple[float, float]:
    """All that did not diverge, as far as it is not much worse than the start: else the rest is a flat line."""
    start, best = candidates[0].values[0], candidates[0].score
    ran = np.concatenate([_smoothed(each) for each in candidates if each.verdict != "very high"])
    fall = abs(start - best) or 1.0
    low, high = max(float(np.min(ran)), start - 2 * fall), min(float(np.max(ran)), start + 2 * fall)
    if best < start:
        high = min(high, start + 0.4 * fall)
    else:
        low = max(low, start - 0.4 * fall)
    margin = 0.06 * (high - low) or 1.0
    return low - margin, high + margin


def _name_one_of_each(axes: Axes, candidates: Sequence[Candidate], every: int, low: float, high: float) -> None:
    """Write the verdicts where a curve of theirs ends, not over each other."""
    by_verdict = {each.verdict: each for each in reversed(candidates)}  # the best of each
    by_verdict["good"] = candidates[0]
    places = []
    for verdict, each in by_verdict.items():
        values = _smoothed(each)
        inside = np.flatnonzero((values >= low) & (values <= high))
        last = int(inside[-1]) if len(inside) else 0
        height = high if verdict == "very high" and candidates[0].score < values[0] else float(values[last])
        places.append((height if math.isfinite(height) else high, every * (last + 1), verdict))
    room = 0.075 * (high - low)
    floor = low
    for height, step, verdict in sorted(places):
        floor = max(height, floor + room)
        axes.annotate(
            "good" if verdict == "good" else f"{verdict}: {MEANINGS[verdict]}",
            (step, height),
            (every * len(candidates[0].values) * 1.02, min(floor, high - room / 3)),
            fontsize=13,
            fontweight="bold" if verdict == "good" else "normal",
            color=_BEST if verdict == "good" else "#333333",
            va="center",
            arrowprops={"arrowstyle": "-", "color": "#999999", "linewidth": 0.8},
            annotation_clip=False,
        )
