"""Which long runs are made, and the file that keeps them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from benchmarks import long_runs


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The rows of the file. The second seed of a run ends with an error."""

    def rows_of(workload: str, seed: int, steps: int) -> list[Any]:
        if seed == 2:
            raise ValueError("a run failed")
        return [{"workload": workload, "seed": seed, "steps": steps, "kind": kind} for kind in ("grid", "found")]

    rows: list[Any] = [{"workload": "clicks", "seed": 0, "steps": 5, "kind": "kept"}]
    monkeypatch.setattr(long_runs, "rows_of", rows_of)
    monkeypatch.setattr(long_runs, "load", lambda _: {"rows": rows})
    monkeypatch.setattr(long_runs, "save", lambda _, new: rows.__setitem__(slice(None), new))
    return rows


def made(kept: list[Any]) -> list[Any]:
    return [(row["seed"], row["kind"]) for row in kept]


def test_runs_that_are_in_the_file_are_not_made_again(kept: list[Any]) -> None:
    keys = long_runs.keys_of([5], [0, 1], ["clicks"])
    with ThreadPoolExecutor(1) as pool:
        assert len(long_runs.start(keys, pool)) == 1
    assert made(kept) == [(0, "kept"), (1, "grid"), (1, "found")]
    with ThreadPoolExecutor(1) as pool:
        assert len(long_runs.start(keys, pool, anew=True)) == 2
    assert made(kept) == [(0, "grid"), (0, "found"), (1, "grid"), (1, "found")]


def test_what_ends_is_in_the_file_also_if_another_run_fails(kept: list[Any]) -> None:
    with ThreadPoolExecutor(1) as pool:
        failed, ended = long_runs.start(long_runs.keys_of([5], [2, 1], ["clicks"]), pool)
    assert made(kept) == [(0, "kept"), (1, "grid"), (1, "found")]
    assert len(ended.result()) == 2
    with pytest.raises(ValueError, match="a run failed"):
        failed.result()
