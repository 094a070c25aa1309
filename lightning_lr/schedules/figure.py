"""Figures of schedules and of cycles. matplotlib is imported when one is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lightning_lr.schedules.preview import Preview

_LINE, _SECOND = "#1f4e79", "#c0392b"
_SMOOTHED = 9  # hundredths of a cycle


def preview_figure(preview: Preview, steps_per_epoch: int | None = None, of_max_lr: bool = False) -> Figure:
    """The learning rate against the optimizer step; below it momentum and weight decay where they move.

    Args:
        preview: of any schedule.
        steps_per_epoch: count epochs instead of steps.
        of_max_lr: whether the learning rate is a share of ``max_lr``.
    """
    from matplotlib.figure import Figure

    others = [(name, values) for name, values in _moving(preview) if values is not None]
    figure = Figure(figsize=(8, 4 + 1.6 * len(others)), layout="constrained")
    rows = figure.subplots(1 + len(others), 1, sharex=True, squeeze=False, height_ratios=[3] + [1] * len(others))
    top, *below = rows[:, 0]
    time = np.arange(len(preview.lr)) / (steps_per_epoch or 1)
    for shade, lr in zip(
        np.linspace(1, 0.4, preview.lr.reshape(len(time), -1).shape[1]), np.atleast_2d(preview.lr.T), strict=True
    ):
        top.plot(time, lr, linewidth=2.5, color=_LINE, alpha=shade)
    top.set_ylabel("learning rate / max_lr" if of_max_lr else "learning rate", fontsize=16)
    top.set_ylim(bottom=0)
    for axes, (name, values) in zip(below, others, strict=True):
        axes.plot(time, values, linewidth=2.5, color=_SECOND)
        axes.set_ylabel(name, fontsize=12)
    rows[-1, 0].set_xlabel("epoch" if steps_per_epoch else "optimizer step", fontsize=16)
    for axes in rows[:, 0]:
        _tidy(axes)
    return figure


def cycles_figure(points: NDArray[np.float64]) -> Figure:
    """The loss against the phase, one line a cycle, from light (the first) to dark (the last).

    The axis of the loss is logarithmic where all losses are above 0.

    Args:
        points: cycle, phase and loss of each, shape [points, 3].
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    cycles = np.unique(points[:, 0])
    for cycle, shade in zip(cycles, np.linspace(0.3, 1.0, len(cycles)), strict=True):
        of_cycle = points[points[:, 0] == cycle]
        ends = cycle in (cycles[0], cycles[-1])
        axes.plot(
            of_cycle[:, 1],
            _smoothed(of_cycle[:, 2]),
            color=colormaps["Blues"](shade),
            linewidth=2.5,
            label=f"cycle {cycle:.0f}" if ends else None,
        )
    if points[:, 2].min() > 0:  # else the fall in the first cycle leaves the others one line at the bottom
        axes.set_yscale("log")
    axes.legend(fontsize=13, framealpha=0.9)
    axes.set_xlim(0, 1)
    axes.set_xlabel("phase of the cycle", fontsize=16)
    axes.set_ylabel("loss", fontsize=16)
    _tidy(axes)
    return figure


def _moving(preview: Preview) -> list[tuple[str, NDArray[np.float64] | None]]:
    return [("momentum", preview.momentum), ("weight decay", preview.weight_decay)]


def _smoothed(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """A centred mean, over fewer points at the ends."""
    window = np.ones(min(_SMOOTHED, len(losses)))
    return np.convolve(losses, window, "same") / np.convolve(np.ones(len(losses)), window, "same")


def _tidy(axes: Axes) -> None:
    axes.tick_params(labelsize=13)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
