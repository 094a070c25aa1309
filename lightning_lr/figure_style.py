"""How all figures look: colours, sizes, and a pair of functions that begin and finish one.

matplotlib is imported when a figure is drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours: of the curve, of what was chosen, of what it is compared with, and of the words beside lines.
CURVE = "#1f4e79"
CHOSEN = "#c0392b"
OTHER = "#5f6a72"
TEXT = "#333333"

# Font sizes in points. They are large, so that a figure can be read as a thumbnail in TensorBoard.
TITLE_SIZE = 24
LABEL_SIZE = 17
SMALL_LABEL_SIZE = 12
TICK_SIZE = 13
TEXT_SIZE = 13

# Line widths in points.
THIN, NORMAL, THICK = 1.0, 2.5, 4.0


def new_figure(width: float = 8.0, height: float = 5.0) -> Figure:
    """An empty figure, in inches, that no pyplot holds on to."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def finish_axes(
    axes: Axes, xlabel: str = "", ylabel: str = "", title: str = "", label_size: float = LABEL_SIZE
) -> None:
    """Label axes, and leave out what is only decoration. An empty text is not written."""
    axes.set_xlabel(xlabel, fontsize=label_size)
    axes.set_ylabel(ylabel, fontsize=label_size)
    axes.set_title(title, fontsize=TITLE_SIZE, color=CHOSEN, fontweight="bold")
    axes.tick_params(labelsize=TICK_SIZE)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
