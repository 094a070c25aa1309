"""The targets of the score: the grid that a rate is tuned on, and the file that keeps them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from benchmarks import targets
from benchmarks.targets import GRID, best_of_growing_grid


@pytest.mark.parametrize("best", GRID)
def test_the_grid_grows_to_the_best_rate(best: float) -> None:
    lr, tried = best_of_growing_grid(lambda lr: abs(math.log(lr / best)))
    assert lr == best
    assert list(tried) == sorted(tried)


def test_a_target_takes_the_place_of_the_one_in_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def row(workload: str, length: int, target: float) -> dict[str, Any]:
        return {"workload": workload, "length": length, "target": target}

    @contextmanager
    def threads(count: int) -> Iterator[Executor]:
        with ThreadPoolExecutor(count) as pool:
            yield pool

    kept = [row("words", 4, 4.0), row("clicks", 1, 0.5), row("words", 1, 5.0)]
    monkeypatch.setattr(targets, "processes", threads)
    monkeypatch.setattr(targets, "tuned", lambda name, length: row(name, length, 1.0))
    monkeypatch.setattr(targets, "load", lambda _: {"rows": kept})
    monkeypatch.setattr(targets, "save", lambda _, rows, **_about: kept.__setitem__(slice(None), rows))
    targets.main(["--workloads", "words", "series", "--length", "4", "--workers", "2"])
    assert kept == [row("clicks", 1, 0.5), row("words", 1, 5.0), row("series", 4, 1.0), row("words", 4, 1.0)]
