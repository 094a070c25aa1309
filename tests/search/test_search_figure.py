"""The figure of a search: every trial, one name for each verdict, and limits that leave out what diverged."""

from __future__ import annotations

import math

import pytest

from lightning_lr.search.bracket import Bracket
from lightning_lr.search.figure import search_figure
from lightning_lr.search.leaderboard import leaderboard


@pytest.mark.parametrize("mode", ["min", "max"])
def test_shows_every_trial_and_names_each_verdict(mode: str) -> None:
    sign = 1 if mode == "min" else -1
    bracket = Bracket(1e-5, 10.0, mode=mode)  # type: ignore[arg-type]
    while trials := bracket.ask():
        for trial in trials:
            depth = math.exp(-(math.log10(trial.lr / 0.01) ** 2))
            values = [
                sign * (1e6 * i if trial.lr > 1 else 2 - depth * (1 - math.exp(-i / 30))) for i in range(trial.steps)
            ]
            bracket.tell(trial, values)
    candidates = leaderboard(bracket)
    (axes, _) = search_figure(candidates, monitor="val_loss").axes
    lines = {len(line.get_xdata()) for line in axes.lines}  # type: ignore[arg-type]
    assert len(axes.lines) == len(candidates)
    assert lines == {50, 200}
    assert sorted(text.get_text() for text in axes.texts) == [
        "good",
        "high: fast start, worse end",
        "low: learns slowly",
        "very high: diverges",
    ]
    low, high = sorted(sign * limit for limit in axes.get_ylim())
    assert low < 1.1
    assert 2 < high < 5
    assert axes.get_ylabel() == "val_loss"
    assert axes.get_title() == "lr = 0.01"
