"""The figure of a range test: what it marks and where."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lightning_lr import LRCurve, suggest
from lightning_lr.range_test.figure import range_test_figure
from lightning_lr.range_test.rules import RULES
from lightning_lr.range_test.smoothing import Array

LRS = np.geomspace(1e-5, 10, 100)
LOSSES = 2 - 1.2 / (1 + (0.03 / LRS) ** 2) + np.minimum(LRS**3, 500.0)


def _curve(lrs: Array = LRS, losses: Array = LOSSES, **kwargs: str) -> LRCurve:
    return LRCurve(lrs, losses, **kwargs)  # type: ignore[arg-type]


def test_marks_every_rule_and_shades_the_bounds() -> None:
    curve = _curve()
    suggestions = {rule: suggest(curve, rule) for rule in RULES}
    figure = range_test_figure(curve, suggestions, "dual")
    (axes,) = figure.axes
    legend = axes.get_legend()
    assert legend is not None
    labels = {text.get_text() for text in legend.get_texts()}
    assert labels == {f"{rule} {suggestions[rule].lr:.2g}" for rule in RULES}
    (shade,) = axes.patches
    left, right = shade.get_extents().transformed(axes.transData.inverted()).intervalx
    assert (left, right) == pytest.approx((suggestions["dual"].base_lr, suggestions["dual"].max_lr), rel=1e-6)
    assert axes.get_xscale() == "log"
    assert f"{suggestions['dual'].lr:.2g}" in axes.get_title()


def test_a_diverged_tail_does_not_flatten_the_curve() -> None:
    curve = _curve()
    (axes,) = range_test_figure(curve, {rule: suggest(curve, rule) for rule in RULES}, "dual").axes
    low, high = axes.get_ylim()
    assert low < LOSSES.min()
    assert 2.0 < high < 4.0


@pytest.mark.parametrize("case", ["nan", "flat", "accuracy"])
def test_draws_difficult_curves(case: str, tmp_path: Path) -> None:
    curve = {
        "nan": _curve(losses=np.where(LRS > 1, np.nan, LOSSES)),
        "flat": _curve(losses=np.full(100, 2.0)),
        "accuracy": _curve(np.linspace(0.01, 1, 100), np.linspace(0, 1, 100), monitor="val_acc", mode="max"),
    }[case]
    figure = range_test_figure(curve, {rule: suggest(curve, rule) for rule in RULES}, "dual")
    (axes,) = figure.axes
    figure.savefig(tmp_path / "figure.png")
    assert axes.get_xscale() == ("linear" if case == "accuracy" else "log")
    assert axes.get_ylabel() == curve.monitor
