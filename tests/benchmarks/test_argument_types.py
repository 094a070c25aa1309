"""Numbers that a benchmark refuses at once: before it measures anything, or writes over results that are kept."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from benchmarks import bench, long_runs, score
from benchmarks.argument_types import positive_count, positive_factor
from benchmarks.costs import __main__ as costs

COUNT = "must be a whole number of at least 1, got "
FACTOR = "must be a finite number above 0, got "


def test_good_ones_are_taken() -> None:
    assert positive_count("12") == 12
    assert positive_factor("0.25") == 0.25
    assert positive_factor("4") == 4.0


@pytest.mark.parametrize(
    ("main", "words", "message"),
    [
        (score.main, ["--workers", "0"], f"argument --workers: {COUNT}'0'"),
        (score.main, ["--lengths", "1", "1.5"], f"argument --lengths: {COUNT}'1.5'"),
        (long_runs.main, ["--lengths=-5"], f"argument --lengths: {COUNT}'-5'"),
        (costs.main, ["--factor", "0"], f"argument --factor: {FACTOR}'0'"),
        (costs.main, ["--factor", "nan"], f"argument --factor: {FACTOR}'nan'"),
        (costs.main, ["--factor", "half"], f"argument --factor: {FACTOR}'half'"),
    ],
)
def test_bad_ones_are_named(
    main: Callable[[list[str]], None], words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert capsys.readouterr().err.splitlines()[-1].endswith(message)


def test_no_cost_is_measured_before_the_workers_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measured: list[object] = []
    monkeypatch.setattr(costs, "main", measured.append)
    monkeypatch.setattr(sys, "argv", ["bench", "--workers", "0"])
    with pytest.raises(SystemExit, match="2"):
        bench.main()
    assert measured == []
    assert capsys.readouterr().err.splitlines()[-1].endswith(f"argument --workers: {COUNT}'0'")
