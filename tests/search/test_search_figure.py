"""The figure of a search: every trial, one name for each verdict, and limits that leave out what diverged."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest

from lightning_lr.search.bracket import Bracket
from lightning_lr.search.figure import search_figure
from lightning_lr.search.leaderboard import Candidate, leaderboard


def _candidates(mode: Literal["min", "max"], bad_steps: tuple[int, ...] = ()) -> list[Candidate]:
    sign = 1 if mode == "min" else -1
    bracket = Bracket(1e-5, 10.0, mode=mode)
    while trials := bracket.ask():
        for trial in trials:
            depth = math.exp(-(math.log10(trial.lr / 0.01) ** 2))
            values = [
                sign * (1e6 * i if trial.lr > 1.5 else 2 - depth * (1 - math.exp(-i / 30))) for i in range(trial.steps)
            ]
            bracket.tell(trial, [math.nan if i in bad_steps else value for i, value in enumerate(values)])
    return leaderboard(bracket)


@pytest.mark.parametrize("bad_steps", [(), (0, 20, 190)])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_shows_every_trial_and_names_each_verdict(mode: Literal["min", "max"], bad_steps: tuple[int, ...]) -> None:
    sign = 1 if mode == "min" else -1
    candidates = _candidates(mode, bad_steps)
    (axes, _) = search_figure(candidates, monitor="val_loss", mode=mode).axes
    lines = {len(line.get_xdata()) for line in axes.lines}  # type: ignore[arg-type]
    assert len(axes.lines) == len(candidates)
    assert lines == {40, 200}
    assert all(np.isfinite(np.array(line.get_ydata())).all() for line in axes.lines)
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
    assert axes.get_title() == "best trial: lr = 0.01"


@pytest.mark.parametrize(
    ("suggested_lr", "title"),
    [(None, "best trial: lr = 0.01"), (0.01, "best trial: lr = 0.01"), (0.0056, "lr = 0.0056 (best trial: 0.01)")],
)
def test_the_title_names_what_is_suggested_if_that_is_not_the_best_trial(
    suggested_lr: float | None, title: str
) -> None:
    (axes, _) = search_figure(_candidates("min", ()), suggested_lr=suggested_lr).axes
    assert axes.get_title() == title


def test_shows_most_of_a_search_in_a_trained_model() -> None:
    """The best one hardly falls there, so its fall is no measure of what to show."""
    bracket = Bracket(1e-4, 1.0, extends=False)
    while trials := bracket.ask():
        for trial in trials:
            jump = 0.008 * max(0.0, math.log10(trial.lr / 1e-3))
            bracket.tell(trial, [0.02 - 1e-6 * i + jump * math.exp(-i / 30) * min(i, 1) for i in range(trial.steps)])
    (axes, _) = search_figure(leaderboard(bracket)).axes
    low, high = axes.get_ylim()
    values = np.concatenate([np.array(line.get_ydata(), dtype=float) for line in axes.lines])
    assert values.max() > 0.03
    assert np.mean((values > low) & (values < high)) > 0.8


def test_losses_that_are_positive_and_far_apart_are_on_a_log_axis() -> None:
    bracket = Bracket(1e-3, 1e-1, extends=False)
    while trials := bracket.ask():
        for trial in trials:
            bracket.tell(trial, [2 * math.exp(-trial.lr * i) for i in range(trial.steps)])
    (axes, _) = search_figure(leaderboard(bracket)).axes
    low, high = axes.get_ylim()
    assert axes.get_yscale() == "log"
    assert 0 < low < 1e-5
    assert 2 < high < 10
    heights = [text.get_position()[1] for text in axes.texts]
    assert all(low < height < high for height in heights)


def test_a_curve_ends_where_it_is_not_finite_to_its_end() -> None:
    bracket = Bracket(1e-3, 1e-1, extends=False)
    while trials := bracket.ask():
        for trial in trials:
            falls = [2 - min(trial.lr, 0.01) * i for i in range(trial.steps)]
            bracket.tell(trial, [*falls[:3], *[math.nan] * 3] if trial.lr > 0.05 else falls)
    (axes, _) = search_figure(leaderboard(bracket)).axes
    ends = [int(np.isfinite(np.array(line.get_ydata(), dtype=float)).sum()) for line in axes.lines]
    assert min(ends) == 3
    assert all(math.isfinite(limit) for limit in axes.get_ylim())


@pytest.mark.parametrize("mode", ["min", "max"])
def test_shows_all_of_the_best_curve_where_nothing_was_learned(mode: Literal["min", "max"]) -> None:
    sign = 1 if mode == "min" else -1
    bracket = Bracket(1e-3, 10.0, mode=mode, extends=False)
    while trials := bracket.ask():
        for trial in trials:
            rises = [1 + trial.lr * i if trial.lr > 1 else 1 + 0.3 * math.sin(i) + (i > 0) for i in range(trial.steps)]
            bracket.tell(trial, [sign * value for value in rises][: 10 if trial.lr > 1 else None])
    candidates = leaderboard(bracket)
    assert sign * candidates[0].score > sign * candidates[0].values[0]
    (axes, _) = search_figure(candidates, mode=mode).axes
    low, high = axes.get_ylim()
    best = np.array(axes.lines[-1].get_ydata())
    assert low < best.min()
    assert best.max() < high
    ((_, end),) = (text.xy for text in axes.texts if text.get_text() == "very high: diverges")  # type: ignore[attr-defined]
    assert (end == high) == (mode == "min")
