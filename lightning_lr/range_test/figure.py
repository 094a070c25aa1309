"""Figures of a range test. matplotlib is imported when one is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_lr.range_test.curve import LRCurve
from lightning_lr.range_test.suggestion import Rule, Suggestion

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CHOSEN, _CURVE, _OTHER = "#c0392b", "#1f4e79", "#5f6a72"


def range_test_figure(curve: LRCurve, suggestions: Mapping[Rule, Suggestion], rule: Rule) -> Figure:
    """What was recorded against the learning rate: raw and smoothed, each rule's choice, and the bounds of a cycle.

    Args:
        curve: the sweep.
        suggestions: what each rule reads off it.
        rule: the one that was used; its bounds are shaded.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    chosen, smoothed = suggestions[rule], curve.smoothed()
    ran = np.isfinite(smoothed)
    axes.plot(curve.lrs[ran], curve.losses[ran], color=_CURVE, alpha=0.25, linewidth=1)
    axes.plot(curve.lrs[ran], smoothed[ran], color=_CURVE, linewidth=3)
    axes.axvspan(chosen.base_lr, chosen.max_lr, color=_CHOSEN, alpha=0.12, linewidth=0)
    axes.axvline(chosen.lr, color=_CHOSEN, linewidth=3, label=f"{rule} {chosen.lr:.2g}")

    low, high = _range_of_interest(smoothed[ran])
    is_exponential = _is_exponential(curve)
    axes.set_ylim(low, high)
    axes.set_xlim(curve.lrs[0], curve.lrs[-1])
    if is_exponential:
        axes.set_xscale("log")
    position = np.log(curve.lrs) if is_exponential else curve.lrs
    others = sorted((found.lr, name) for name, found in suggestions.items() if name != rule)
    for marker, (lr, name) in zip("os^Dv", others, strict=True):
        level = float(np.interp(np.log(lr) if is_exponential else lr, position[ran], smoothed[ran]))
        style: dict[str, Any] = {"markersize": 11, "markeredgecolor": "white", "zorder": 3, "clip_on": False}
        axes.plot(lr, level, marker, color=_OTHER, label=f"{name} {lr:.2g}", **style)
    axes.legend(fontsize=13, loc="best", framealpha=0.9)
    certainty = "" if chosen.confident else " (not confident)"
    axes.set_title(f"lr = {chosen.lr:.2g}{certainty}", fontsize=24, color=_CHOSEN, fontweight="bold")
    axes.set_xlabel("learning rate", fontsize=18)
    axes.set_ylabel(curve.monitor, fontsize=18)
    axes.tick_params(labelsize=14)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return figure


def _range_of_interest(smoothed: np.ndarray[tuple[int], np.dtype[np.float64]]) -> tuple[float, float]:
    """The limits of the loss axis: all but a diverged tail, which would flatten the rest."""
    low, start = float(np.min(smoothed)), float(smoothed[0])
    high = float(np.quantile(smoothed, 0.95))
    if start > low:  # falling is good: the tail behind the start's level tells nothing more
        high = min(float(np.max(smoothed)), max(start, low) + 0.6 * (start - low))
    margin = 0.12 * (high - low) or 1.0
    return low - 1.5 * margin, high + margin


def _is_exponential(curve: LRCurve) -> bool:
    """Whether the learning rates lie more evenly on a log scale than on a linear one."""
    middle = curve.lrs[len(curve.lrs) // 2]
    first, last = curve.lrs[0], curve.lrs[-1]
    return bool(abs(np.log(middle**2 / (first * last))) < abs(np.log(2 * middle / (first + last))))
