"""The figure of a range test."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_lr.arguments import checked, choice, instance_of
from lightning_lr.figure_style import CHOSEN, CURVE, OTHER, SMALL_LABEL_SIZE, THICK, THIN, finish_axes, new_figure
from lightning_lr.range_test.curve import LRCurve
from lightning_lr.range_test.rules import MINIMUM_DIVISOR, RULES, SMITH_LR_DIVISOR, Rule
from lightning_lr.range_test.smoothing import Array
from lightning_lr.range_test.suggestion import Suggestion

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Names in the legend of rules that divide what they read.
LEGEND_NAMES: Mapping[Rule, str] = {
    "minimum": f"minimum / {MINIMUM_DIVISOR}",
    "smith": f"smith (turn / {SMITH_LR_DIVISOR})",
}
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")  # of the rules that were not chosen, from the lowest learning rate
# Upper end of the loss axis, chosen by eye: this share of the fall above the start. Without a fall: this quantile.
SHOWN_RISE = 0.6
SHOWN_QUANTILE = 0.95
# Least height of the loss axis in median deviations of the raw values: else noise alone looks like a valley.
SHOWN_NOISE = 8
# Room below and above, as shares of the height between the limits.
MARGIN_BELOW, MARGIN_ABOVE = 0.18, 0.12
REASONS_WIDTH = 100  # characters of a line below the axes
WIDTH = 10.0  # inches, with the legend at the right


@checked(
    curve=instance_of(LRCurve, what="an LRCurve"),
    chosen=instance_of(Suggestion, what="a Suggestion"),
    lrs=instance_of(Mapping, what="a dict of the learning rate of each rule"),
    rule=choice(RULES),
)
def range_test_figure(curve: LRCurve, chosen: Suggestion, lrs: Mapping[Rule, float], rule: Rule) -> Figure:
    """The recorded values against the learning rate, raw and smoothed, with what was chosen and what each rule reads.

    Args:
        curve: the sweep.
        chosen: what will be used. The bounds of its cycle are shaded.
        lrs: what each rule reads off the curve.
        rule: the one that was used. It has no marker of its own if its learning rate was chosen.
    """
    figure = new_figure(WIDTH)
    axes = figure.add_subplot()
    smoothed = curve.smoothed()
    ran = np.isfinite(smoothed)
    axes.plot(curve.lrs[ran], curve.losses[ran], color=CURVE, alpha=0.35, linewidth=THIN, label="raw")
    axes.plot(curve.lrs[ran], smoothed[ran], color=CURVE, linewidth=THICK, label="smoothed")
    axes.axvline(chosen.lr, color=CHOSEN, linewidth=THICK, label=f"chosen: {chosen.lr:.2g}")
    bounds = f"cycle bounds: {chosen.base_lr:.2g} to {chosen.max_lr:.2g}"
    axes.axvspan(chosen.base_lr, chosen.max_lr, color=CHOSEN, alpha=0.12, linewidth=0, label=bounds)
    noise = float(np.median(np.abs(curve.losses[ran] - smoothed[ran])))
    axes.set_ylim(*_loss_limits(smoothed[ran], curve.mode, noise))
    axes.set_xlim(curve.lrs[0], curve.lrs[-1])
    if _is_exponential(curve):
        axes.set_xscale("log")
    _mark_rules(axes, curve, {name: lr for name, lr in lrs.items() if name != rule or lr != chosen.lr})
    figure.legend(fontsize=SMALL_LABEL_SIZE, loc="outside right upper")  # within the axes it would cover the curve
    certainty = "" if chosen.confident else " (not confident)"
    finish_axes(axes, "learning rate", curve.monitor, f"lr = {chosen.lr:.2g}{certainty}")
    if chosen.reasons:
        lines = [line for reason in chosen.reasons for line in wrap(f"– {reason}", REASONS_WIDTH)]
        figure.supxlabel("\n".join(lines), fontsize=SMALL_LABEL_SIZE, color=CHOSEN)
    return figure


def _mark_rules(axes: Axes, curve: LRCurve, lrs: Mapping[Rule, float]) -> None:
    """A marker on the smoothed curve for each rule."""
    smoothed = curve.smoothed()
    ran = np.isfinite(smoothed)
    scale = np.log if _is_exponential(curve) else np.asarray
    for marker, (lr, name) in zip(cycle(MARKERS), sorted((lr, name) for name, lr in lrs.items()), strict=False):
        height = np.interp(scale(lr), scale(curve.lrs[ran]), smoothed[ran])
        height = float(np.clip(height, *axes.get_ylim()))  # a marker far outside would leave no room for the axes
        style: dict[str, Any] = {"markersize": 11, "markeredgecolor": "white", "zorder": 3, "clip_on": False}
        axes.plot(lr, height, marker, color=OTHER, label=f"{LEGEND_NAMES.get(name, name)}: {lr:.2g}", **style)


def _loss_limits(smoothed: Array, mode: str, noise: float) -> tuple[float, float]:
    """The limits of the loss axis: all but a diverged tail, which would flatten the rest."""
    if mode == "max":
        low, high = _loss_limits(-smoothed, "min", noise)
        return -high, -low
    low, start = float(np.min(smoothed)), float(smoothed[0])
    if start > low:
        high = min(float(np.max(smoothed)), start + SHOWN_RISE * (start - low))
    else:
        high = float(np.quantile(smoothed, SHOWN_QUANTILE))
    missing = max(0.0, SHOWN_NOISE * noise - (high - low))
    low, high = low - missing / 2, high + missing / 2
    height = high - low or 1.0
    return low - MARGIN_BELOW * height, high + MARGIN_ABOVE * height


def _is_exponential(curve: LRCurve) -> bool:
    """Whether the learning rates lie more evenly on a log scale than on a linear one."""
    middle = curve.lrs[len(curve.lrs) // 2]
    first, last = curve.lrs[0], curve.lrs[-1]
    return bool(abs(np.log(middle**2 / (first * last))) < abs(np.log(2 * middle / (first + last))))
