"""The score from small numbers, which of its runs are made, and a few steps of real ones."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
import torch

from benchmarks import score
from benchmarks.contestants import contestants
from benchmarks.score import distance, is_whole, missing, run_by_all, shares, summary
from benchmarks.workloads import WORKLOADS
from benchmarks.workloads.run import Run
from lightning_lr import LRRangeTest
from tests.benchmarks.score_rows import TARGETS, run_row


def test_what_a_small_budget_reaches_counts_for_a_large_one() -> None:
    rows = [run_row("A", 1.0, 80), run_row("A", 1.0, None, seed=1), run_row("A", 1.5, 140, seed=1)]
    rows += [run_row("A", 1.0, None, seed=2), run_row("A", 1.5, None, seed=2), run_row("B", 1.0, 1)]
    assert shares(rows, "A") == {1.0: pytest.approx(1 / 3), 1.5: pytest.approx(2 / 3)}
    assert [line["contestant"] for line in summary(rows, TARGETS)] == ["B", "A"]


def test_distance_is_that_to_the_target() -> None:
    assert distance(run_row("A", 1.0, None), TARGETS["clicks"]) == pytest.approx(0.5)
    assert distance({**run_row("A", 1.0, None), "best": None}, TARGETS["clicks"]) == 1.0
    assert distance({**run_row("A", 1.0, 80), "best": 0.4}, TARGETS["clicks"]) == 0.0


def test_only_what_was_not_reached_is_run_with_a_large_budget() -> None:
    cells = [(1, 0, "clicks", name) for name in ("A", "B", "C")]
    rows = [run_row("A", 1.0, 80), run_row("B", 1.0, None)]
    assert missing(rows, 1.0, cells) == cells[2:]
    assert missing(rows, 1.5, cells) == cells[1:]
    assert not is_whole(rows)
    assert is_whole([*rows, run_row("B", 1.5, None)])


def test_only_workloads_that_all_were_run_on_are_judged() -> None:
    both = [run_row("A", 1.0, 80), run_row("B", 1.0, None)]
    assert run_by_all([*both, run_row("A", 1.0, 90, workload="words"), run_row("A", 1.0, 90, seed=1)]) == both


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The rows of the file."""
    rows: list[Any] = [run_row("A", 1.0, None)]
    monkeypatch.setattr(score, "load", lambda name: {"rows": rows if name == "score" else list(TARGETS.values())})
    return rows


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, kept: list[Any]) -> list[Any]:
    """The runs that were made: A and C miss their targets. D ends with an error when another run is in the file."""
    runs: list[Any] = []
    has_kept = Event()

    def save(_: str, rows: list[Any]) -> None:
        kept[:] = rows
        has_kept.set()

    def run_once(budget: float, length: int, seed: int, workload: str, name: str) -> Any:
        runs.append((budget, seed, name))
        if name == "D":
            assert has_kept.wait(10)
            raise ValueError("a run failed")
        return run_row(name, budget, 80 if name == "B" else None, workload, seed)

    monkeypatch.setattr(score, "run_once", run_once)
    monkeypatch.setattr(score, "save", save)
    return runs


def test_runs_that_are_in_the_file_are_not_made_again(kept: list[Any], made: list[Any]) -> None:
    keys = score.keys_of([1], [0], ["clicks"], ["A", "B"])
    with ThreadPoolExecutor(1) as pool:
        score.measure(keys, pool)
        assert made == [(1.0, 0, "B"), (1.5, 0, "A")]
        assert kept == [run_row("A", 1.0, None), run_row("B", 1.0, 80), run_row("A", 1.5, None)]
        score.measure(keys, pool)
        assert len(made) == 2
        score.measure(keys[1:], pool, anew=True)
        assert made[2:] == [(1.0, 0, "B")]
    assert kept == [run_row("B", 1.0, 80)]


def test_runs_to_an_old_target_are_made_again(
    kept: list[Any], made: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    kept[0]["target"] = 0.4
    with ThreadPoolExecutor(1) as pool:
        score.measure(score.keys_of([1], [0], ["clicks"], ["A"]), pool)
    assert "1 runs are discarded, since their target has changed." in capsys.readouterr().out
    assert made == [(1.0, 0, "A"), (1.5, 0, "A")]
    assert kept == [run_row("A", 1.0, None), run_row("A", 1.5, None)]


def test_what_ended_before_a_failure_is_in_the_file(kept: list[Any], made: list[Any]) -> None:
    with ThreadPoolExecutor(2) as pool, pytest.raises(ValueError, match="a run failed"):
        score.measure(score.keys_of([1], [0], ["clicks"], ["D", "C"]), pool)
    assert sorted(made) == [(1.0, 0, "C"), (1.0, 0, "D")]
    assert kept == [run_row("A", 1.0, None), run_row("C", 1.0, None)]


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workload_trains(name: str) -> None:
    setting = WORKLOADS[name]()
    run = Run(setting, 0, 4, 2)
    contestants()["NadamW at 0.001"].train(run)
    assert run.steps == 4
    assert len(run.losses) == 2
    assert math.isfinite(run.best)
    first, again = setting.batches(3, 5)[2], setting.batches(3, 5)[2]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_finding_takes_steps_from_the_budget() -> None:
    run = Run(WORKLOADS["series"](), 0, 24, 4)
    run.find(LRRangeTest(1e-5, 1e-2, num_steps=10, verify=False))
    assert 10 <= run.steps_to_find == run.steps < 16  # it may go a little beyond its range
    run.fit(1e-3)
    assert run.steps == 24
    assert 3 <= len(run.losses) <= 4  # after each fourth step


def test_a_run_ends_at_the_target() -> None:
    run = Run(WORKLOADS["series"](), 0, 20, 4, target=10.0)
    contestants()["HypergradientLR"].train(run)
    assert run.reached == run.steps == 4
