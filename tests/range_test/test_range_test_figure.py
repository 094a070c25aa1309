"""The figure of a range test: what it marks and where."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes

from lightning_lr import LRCurve, Suggestion, suggest
from lightning_lr.range_test.figure import range_test_figure
from lightning_lr.range_test.rules import RULES
from lightning_lr.range_test.smoothing import Array
from lightning_lr.range_test.suggestion import with_bounds

LRS = np.geomspace(1e-5, 10, 100)
LOSSES = 2 - 1.2 / (1 + (0.03 / LRS) ** 2) + np.minimum(LRS**3, 500.0)


def _curve(lrs: Array = LRS, losses: Array = LOSSES, **kwargs: str) -> LRCurve:
    return LRCurve(lrs, losses, **kwargs)  # type: ignore[arg-type]


def _draw(curve: LRCurve, chosen: Suggestion | None = None) -> Axes:
    """The axes of a figure in which ``dual`` is the rule, and nothing else was chosen if not told."""
    lrs = {rule: suggest(curve, rule).lr for rule in RULES}
    figure = range_test_figure(curve, suggest(curve, "dual") if chosen is None else chosen, lrs, "dual")
    (axes,) = figure.axes
    return axes


def _labels(axes: Axes) -> set[str]:
    (legend,) = axes.figure.legends
    return {text.get_text() for text in legend.get_texts()}


def test_marks_every_rule_and_shades_the_bounds() -> None:
    curve = _curve()
    chosen = suggest(curve, "dual")
    axes = _draw(curve)
    names = {**{rule: rule for rule in RULES}, "minimum": "minimum / 10", "smith": "smith (turn / 3)"}
    others = {f"{names[rule]}: {suggest(curve, rule).lr:.2g}" for rule in RULES if rule != "dual"}
    bounds = f"cycle bounds: {chosen.base_lr:.2g} to {chosen.max_lr:.2g}"
    assert _labels(axes) == {f"chosen: {chosen.lr:.2g}", bounds, "raw", "smoothed", *others}
    (shade,) = axes.patches
    left, right = shade.get_extents().transformed(axes.transData.inverted()).intervalx
    assert (left, right) == pytest.approx((chosen.base_lr, chosen.max_lr), rel=1e-6)
    assert axes.get_xscale() == "log"
    assert axes.get_title() == f"lr = {chosen.lr:.2g}"


def test_shows_what_was_chosen_beside_what_the_rule_reads() -> None:
    curve, chosen = _curve(), with_bounds(1e-3, ("a reason",))
    axes = _draw(curve, chosen)
    assert _labels(axes) >= {"chosen: 0.001", f"dual: {suggest(curve, 'dual').lr:.2g}"}
    (line,) = (line for line in axes.lines if line.get_label() == "chosen: 0.001")
    assert np.array(line.get_xdata()).tolist() == [1e-3, 1e-3]
    (shade,) = axes.patches
    left, right = shade.get_extents().transformed(axes.transData.inverted()).intervalx
    assert (left, right) == pytest.approx((5e-4, 2e-3), rel=1e-6)
    assert axes.get_title() == "lr = 0.001 (not confident)"
    assert axes.figure.get_supxlabel() == "– a reason"


def test_a_diverged_tail_does_not_flatten_the_curve() -> None:
    low, high = _draw(_curve()).get_ylim()
    assert low < LOSSES.min()
    assert 2.0 < high < 4.0


def test_noise_does_not_fill_the_axes() -> None:
    """A curve that learned nothing shows the height of its noise, not that of the smoothed curve."""
    noisy = 2.0 + 0.1 * np.random.default_rng(0).standard_normal(len(LRS))
    low, high = _draw(_curve(losses=noisy)).get_ylim()
    assert low < np.quantile(noisy, 0.1)
    assert high > np.quantile(noisy, 0.9)


def test_a_rule_that_reads_at_a_diverged_loss_is_marked_at_the_edge(tmp_path: Path) -> None:
    curve = _curve(losses=LOSSES + 100 * LRS**2)
    lrs = {**{rule: suggest(curve, rule).lr for rule in RULES}, "slide": 9.0}
    (axes,) = range_test_figure(curve, suggest(curve), lrs, "dual").axes
    axes.figure.savefig(tmp_path / "figure.png")  # type: ignore[union-attr]
    (marker,) = (line for line in axes.lines if line.get_label() == "slide: 9")
    assert np.array(marker.get_ydata()).tolist() == [axes.get_ylim()[1]]


@pytest.mark.parametrize("case", ["nan", "flat", "accuracy"])
def test_draws_difficult_curves(case: str, tmp_path: Path) -> None:
    curve = {
        "nan": _curve(losses=np.where(LRS > 1, np.nan, LOSSES)),
        "flat": _curve(losses=np.full(100, 2.0)),
        "accuracy": _curve(np.linspace(0.01, 1, 100), np.linspace(0, 1, 100), monitor="val_acc", mode="max"),
    }[case]
    axes = _draw(curve)
    axes.figure.savefig(tmp_path / "figure.png")  # type: ignore[union-attr]
    assert axes.get_xscale() == ("linear" if case == "accuracy" else "log")
    assert axes.get_ylabel() == curve.monitor
