"""Figures of a schedule, and of the loss in its cycles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lightning_lr.figure_style import (
    CHOSEN,
    CURVE,
    LABEL_SIZE,
    NORMAL,
    SMALL_LABEL_SIZE,
    TEXT_SIZE,
    finish_axes,
    new_figure,
)
from lightning_lr.range_test.smoothing import Array, smooth

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Heights in inches, chosen by eye: of the learning rate, and of each value below it.
LR_HEIGHT, OTHER_HEIGHT = 4.0, 1.6
# σ of the smoothed loss as a share of a cycle, chosen by eye: a cycle has at most 25 points, each of one batch.
SIGMA_SHARE = 0.1
# More cycles are named by a colour bar instead of a legend.
MOST_IN_LEGEND = 8


def preview_figure(
    lr: Array,
    momentum: Array | None = None,
    weight_decay: Array | None = None,
    steps_per_epoch: int | None = None,
    of_max_lr: bool = False,
) -> Figure:
    """The learning rate against the optimizer step, and below it momentum and weight decay.

    Args:
        lr: learning rate, shape [steps], or [steps, groups] with a line for each group.
        momentum: shape [steps]; None to leave it out.
        weight_decay: shape [steps]; None to leave it out.
        steps_per_epoch: show epochs instead of steps.
        of_max_lr: whether ``lr`` is a share of ``max_lr``.
    """
    below = {"momentum": momentum, "weight decay": weight_decay}
    others = {name: values for name, values in below.items() if values is not None}
    figure = new_figure(height=LR_HEIGHT + OTHER_HEIGHT * len(others))
    rows = figure.subplots(1 + len(others), 1, sharex=True, squeeze=False, height_ratios=[3] + [1] * len(others))[:, 0]
    time = np.arange(len(lr)) / (steps_per_epoch or 1)
    groups = lr.reshape(len(lr), -1).T
    for values, alpha in zip(groups, np.linspace(1, 0.4, len(groups)), strict=True):
        rows[0].plot(time, values, linewidth=NORMAL, color=CURVE, alpha=alpha)
    rows[0].set_ylim(bottom=0)
    finish_axes(rows[0], ylabel="learning rate / max_lr" if of_max_lr else "learning rate")
    for axes, (name, values) in zip(rows[1:], others.items(), strict=True):
        axes.plot(time, values, linewidth=NORMAL, color=CHOSEN)
        finish_axes(axes, ylabel=name, label_size=SMALL_LABEL_SIZE)
    rows[-1].set_xlabel("epoch" if steps_per_epoch else "optimizer step", fontsize=LABEL_SIZE)
    return figure


def cycles_figure(points: Array) -> Figure:
    """The smoothed loss against the phase, one line a cycle, from light (the first) to dark (the last).

    The axis of the loss is logarithmic if all losses are above 0.

    Args:
        points: cycle, phase and loss of each point, shape [points, 3].
    """
    from matplotlib import colormaps, colors
    from matplotlib.cm import ScalarMappable

    figure = new_figure()
    axes = figure.add_subplot()
    cycles = np.unique(points[:, 0])
    colormap = colors.ListedColormap(colormaps["Blues"](np.linspace(0.3, 1.0, len(cycles))))
    for i, cycle in enumerate(cycles):
        _, phases, losses = points[points[:, 0] == cycle].T
        label = f"cycle {cycle:.0f}"
        axes.plot(phases, smooth(losses, SIGMA_SHARE), color=colormap(i), linewidth=NORMAL, label=label)
    if points[:, 2].min() > 0:  # else the fall in the first cycle makes the others one line at the bottom
        axes.set_yscale("log")
    if len(cycles) <= MOST_IN_LEGEND:
        axes.legend(fontsize=TEXT_SIZE, framealpha=0.9)
    else:
        norm = colors.Normalize(cycles[0] - 0.5, cycles[-1] + 0.5)
        figure.colorbar(ScalarMappable(norm, colormap), ax=axes).set_label("cycle", fontsize=LABEL_SIZE)
    axes.set_xlim(0, 1)
    finish_axes(axes, "phase of the cycle", "loss")
    return figure
