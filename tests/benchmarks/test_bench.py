"""The score, the ratios, their comparison and the page, from small numbers, and a few steps of real runs."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import bench, long_runs, page, score, targets
from benchmarks.check import worse
from benchmarks.contestants import contestants
from benchmarks.costs import __main__ as costs
from benchmarks.costs import finders
from benchmarks.costs.models import LARGE_MLP, SMALL_CNN, TINY_CNN, ImageClassifier
from benchmarks.costs.page import costs_section
from benchmarks.costs.ratio import Ratio, ratio_of_times
from benchmarks.costs.steps import ratios_of_steps
from benchmarks.page import write_page
from benchmarks.raw_results import load, save
from benchmarks.score import distance, is_whole, missing, run_by_all, shares, summary
from benchmarks.targets import GRID, best_of_growing_grid
from benchmarks.workloads import WORKLOADS
from benchmarks.workloads.run import Run
from lightning_lr import LRRangeTest

TARGETS = {"clicks": {"workload": "clicks", "length": 1, "steps": 100, "target": 0.5, "initial": 0.7}}


def run_row(contestant: str, budget: float, reached: int | None, workload: str = "clicks", seed: int = 0) -> Any:
    row = {"workload": workload, "length": 1, "seed": seed, "budget": budget, "contestant": contestant}
    return {**row, "reached": reached, "steps_to_find": 10, "best": 0.5 if reached else 0.6}


def ratio_row(ratio: float, low: float, high: float, what: str = "CyclicalLR") -> Any:
    return Ratio("step", "small CNN, logging every 50", what, "bare loop", ratio, low, high)._asdict()


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


def test_runs_that_are_in_the_file_are_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first budget is that of all runs, the second one that of those which missed their target."""
    made: list[Any] = []

    def run_once(budget: float, length: int, seed: int, workload: str, name: str) -> Any:
        made.append((budget, seed, name))
        return run_row(name, budget, 80 if name == "B" else None, workload, seed)

    kept = [run_row("A", 1.0, None)]
    monkeypatch.setattr(score, "run_once", run_once)
    monkeypatch.setattr(score, "load", lambda _: {"rows": kept})
    monkeypatch.setattr(score, "save", lambda _, rows: kept.__setitem__(slice(None), rows))
    runs = score.runs_of([1], [0], ["A", "B"], ["clicks"])
    with ThreadPoolExecutor(1) as pool:
        score.measure(runs, pool)
        assert made == [(1.0, 0, "B"), (1.5, 0, "A")]
        score.measure(runs, pool)
        assert len(made) == 2
        score.measure(runs, pool, anew=True)
        assert made[2:] == [(1.0, 0, "A"), *made[:2]]
    assert kept == [run_row("A", 1.0, None), run_row("B", 1.0, 80), run_row("A", 1.5, None)]


def test_long_runs_that_are_in_the_file_are_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = [{"workload": "clicks", "seed": 0, "steps": 5, "kind": "grid"}]
    made: list[Any] = []

    def rows_of(workload: str, seed: int, steps: int) -> list[Any]:
        made.append((workload, seed, steps))
        return [{"workload": workload, "seed": seed, "steps": steps}]

    monkeypatch.setattr(long_runs, "rows_of", rows_of)
    monkeypatch.setattr(long_runs, "load", lambda _: {"rows": kept})
    monkeypatch.setattr(long_runs, "save", lambda _, rows: kept.__setitem__(slice(None), rows))
    with ThreadPoolExecutor(1) as pool:
        runs = long_runs.runs_of([5], [0, 1], ["clicks"])
        long_runs.keep(long_runs.start(runs, pool))
        assert made == [("clicks", 1, 5)]
        assert len(kept) == 2
        long_runs.keep(long_runs.start(runs, pool, anew=True), anew=True)
    assert made[1:] == runs
    assert len(kept) == 2


@pytest.mark.parametrize(
    ("words", "lengths", "seeds", "long_lengths", "anew"),
    [
        ([], [1], [0], [20_000], True),
        (["--full", "--resume"], [1, 4], [0, 1, 2], [20_000, 5000], False),
    ],
)
def test_what_the_short_and_the_full_form_run(
    words: list[str],
    lengths: list[int],
    seeds: list[int],
    long_lengths: list[int],
    anew: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Targets that are in the file are not set again: those of length 1, and those of two workloads of length 4."""
    known = [{"workload": name, "length": 1} for name in WORKLOADS]
    known += [{"workload": name, "length": 4} for name in ("clicks", "words")]
    called: list[Any] = []
    monkeypatch.setattr(bench, "load", lambda _: {"rows": known})
    monkeypatch.setattr(targets, "main", lambda words: called.append(("targets", words)))
    monkeypatch.setattr(costs, "main", lambda words: called.append(("costs", words)))
    monkeypatch.setattr(page, "main", lambda words: called.append(("page", words)))
    monkeypatch.setattr(long_runs, "start", lambda runs, _, anew: called.append(("long runs", (runs, anew))))
    monkeypatch.setattr(long_runs, "keep", lambda started, anew: called.append(("kept", (started, anew))))
    monkeypatch.setattr(score, "measure", lambda runs, _, anew: called.append(("score", (runs, anew))))
    bench.main(words)
    of_name = dict(called)
    assert called[-2:] == [("kept", (None, anew)), ("page", [])]
    assert of_name["costs"] == ["--factor", "8" if len(lengths) > 1 else "1"]
    if len(lengths) == 1:
        assert "targets" not in of_name
    else:
        wanted = [name for name in WORKLOADS if name not in ("clicks", "words")]
        assert of_name["targets"] == ["--length", "4", "--workers", "2", "--workloads", *wanted]
    assert of_name["score"] == (score.runs_of(lengths, seeds), anew)
    assert len(of_name["score"][0]) == len(lengths) * len(seeds) * len(WORKLOADS) * (1 + len(contestants()))
    assert of_name["long runs"] == (long_runs.runs_of(long_lengths, seeds), anew)
    assert len(of_name["long runs"][0]) == len(long_lengths) * len(seeds) * 3


@pytest.mark.parametrize("best", GRID)
def test_the_grid_grows_to_the_best_rate(best: float) -> None:
    lr, tried = best_of_growing_grid(lambda lr: abs(math.log(lr / best)))
    assert lr == best
    assert list(tried) == sorted(tried)


def test_a_ratio_is_the_median_of_those_of_the_rounds_with_the_spread_of_four_parts() -> None:
    """The machine is slower in some rounds, for all cases."""
    slower = np.array([1.0, 1, 1, 2, 3, 5, 7, 9])
    ours = np.array([3.0, 3, 3, 3, 3, 3, 5, 5])
    times = {"plain": 2 * slower, "ours": ours * slower, "rival": 6 * slower}
    against = ratio_of_times("step", "here", times, "ours", "plain")
    assert (against.ratio, against.low, against.high) == (1.5, 1.5, 2.5)
    added = ratio_of_times("added", "here", times, "ours", "rival", "plain")
    assert (added.ratio, added.low, added.high) == (0.25, 0.25, 0.75)


def test_a_ratio_is_worse_if_its_spread_is_above_the_kept_one() -> None:
    kept = [ratio_row(1.1, 1.0, 1.2)]
    assert worse(kept, [ratio_row(1.15, 1.12, 1.18)]) == []
    assert worse(kept, [ratio_row(1.5, 1.05, 1.9)]) == []
    assert worse(kept, [ratio_row(0.5, 0.4, 0.6)]) == []
    (line,) = worse(kept, [ratio_row(1.3, 1.25, 1.4)])
    assert "CyclicalLR / bare loop" in line
    assert worse(kept, []) == ["CyclicalLR / bare loop (small CNN, logging every 50): not measured any more"]
    assert worse([ratio_row(1.1, 1.0, 1.2, "CyclicLR")], [ratio_row(1.3, 1.25, 1.4, "CyclicLR")]) == []


def test_raw_results_say_what_made_them_and_hold_no_infinity(tmp_path: Path) -> None:
    save("some", [{"a": math.inf, "b": [1.0, math.nan], "c": "x"}], tmp_path, seeds=[1])
    read = load("some", tmp_path)
    assert read["rows"] == [{"a": None, "b": [1.0, None], "c": "x"}]
    assert read["seeds"] == [1]
    assert read["made_with"]["packages"]["torch"] == torch.__version__
    assert load("none", tmp_path) == {"rows": []}


def test_only_workloads_that_all_were_run_on_are_judged() -> None:
    both = [run_row("A", 1.0, 80), run_row("B", 1.0, None)]
    assert run_by_all([*both, run_row("A", 1.0, 90, workload="words"), run_row("A", 1.0, 90, seed=1)]) == both


def test_the_page_is_made_from_the_files_alone(tmp_path: Path) -> None:
    rows = [run_row("LRRangeTest + one cycle", 1.0, 50), run_row("Prodigy", 1.0, None), run_row("Prodigy", 1.5, None)]
    save("score", rows, tmp_path)
    save("targets", list(TARGETS.values()), tmp_path)
    save("costs", [ratio_row(1.1, 1.0, 1.2), ratio_row(1.2, 1.1, 1.3, "HypergradientLR, settled")], tmp_path)
    where = {"workload": "clicks", "seed": 0, "steps": 20_000}
    grid = [{**where, "kind": "grid", "schedule": "constant", "lr": lr, "loss": lr + 0.1} for lr in (0.01, 0.1)]
    found = {"name": "LRRangeTest", "lr": 0.02, "max_lr": 0.03, "steps_to_find": 700, "gap constant": 0.01}
    save("long_runs", [*grid, {**where, "kind": "found", **found, "gap one cycle": 0.02}], tmp_path)
    write_page(tmp_path, tmp_path)
    page = (tmp_path / "benchmarks.md").read_text()
    assert "| **LRRangeTest + one cycle** | 1.00 | 1.00 | 0.000 | 10 |" in page
    assert "| Prodigy | 0.00 | 0.00 |" in page
    assert "ahead of the best of this package within 1.0: none; within 1.5: none." in page
    assert "| **LRRangeTest** | 0.010 (0.01) | 0.020 (0.02) | 700 | 1 |" in page
    assert "| **CyclicalLR** | 1.10 (1.00 to 1.20) |" in page
    assert "| adaptation, settled, of a small CNN | at most 1.05 | 1.20 (1.10 to 1.30) | **missed** |" in page
    for name in ("score", "long_runs", "costs"):
        assert (tmp_path / f"benchmarks_{name}.png").stat().st_size > 1000
        assert f"(benchmarks_{name}.png)" in page


@pytest.mark.parametrize(
    ("rows", "shown"),
    [
        ([(1.04, 0.9, 1.2), (1.05, 1.0, 1.1)], "1.05 (1.00 to 1.10) | met"),
        ([(1.04, 0.9, 1.2), (1.08, 1.0, 1.1)], "1.08 (1.00 to 1.10) | within the noise"),
        ([(1.07, 1.06, 1.08), (1.09, 1.0, 1.1)], "1.07 (1.06 to 1.08) | **missed**"),
        ([(1.04, 1.06, 1.08)], "1.04 (1.06 to 1.08) | met"),  # the median of all rounds is below those of four parts
        ([], " | not measured in this form"),
    ],
)
def test_an_aim_is_missed_if_all_of_the_spread_is_above_it(rows: list[tuple[float, float, float]], shown: str) -> None:
    section = costs_section([ratio_row(*row, "HypergradientLR, settled") for row in rows])
    assert f"| adaptation, settled, of a small CNN | at most 1.05 | {shown} |" in section


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


@pytest.mark.parametrize("model", [TINY_CNN, SMALL_CNN, LARGE_MLP], ids=lambda model: model.name)
def test_a_classifier_of_the_costs_takes_its_images(model: ImageClassifier) -> None:
    images, classes = model.batch()
    assert images.shape == (model.batch_size, 1, model.pixels, model.pixels)
    assert model.module().training_step((images, classes), 0).isfinite()


@pytest.mark.filterwarnings("ignore:LRRangeTest is not confident")
@pytest.mark.filterwarnings("ignore:LRRangeTest cannot rewind iterators")  # one counts the steps of the test too
def test_the_steps_of_finders_are_counted() -> None:
    assert finders.train(TINY_CNN, [], 3) == 3
    assert finders.train(TINY_CNN, [LRRangeTest(1e-5, 1e-2, num_steps=10, verify=False)], 1) >= 11


def test_steps_are_timed_in_turns() -> None:
    ratios = ratios_of_steps(TINY_CNN, 2, 4, 2, ("bare loop", "CyclicalLR"))
    assert [(each.what, each.against) for each in ratios] == [("CyclicalLR", "bare loop")]
    assert ratios[0].ratio > 0
