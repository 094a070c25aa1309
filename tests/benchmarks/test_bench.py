"""The ratios, their comparison, the page and what `make bench` runs, from small numbers, and a few timed steps."""

from __future__ import annotations

import math
import subprocess
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import bench, long_runs, page, score, targets
from benchmarks.check import worse
from benchmarks.contestants import contestants
from benchmarks.costs import __main__ as costs
from benchmarks.costs import finders, memory
from benchmarks.costs.models import LARGE_MLP, SMALL, SMALL_CNN, TINY_CNN, ImageClassifier
from benchmarks.costs.page import costs_section
from benchmarks.costs.ratio import Ratio, ratio_of_times
from benchmarks.costs.steps import LIGHT_CASES, TimedSteps, ratios_of_light_steps, ratios_of_steps
from benchmarks.page import write_page
from benchmarks.raw_results import load, save
from benchmarks.workloads import WORKLOADS
from lightning_lr import LRRangeTest
from tests.benchmarks.score_rows import TARGETS, run_row


def ratio_row(ratio: float, low: float, high: float, what: str = "CyclicalLR") -> Any:
    return Ratio("step", "small CNN, logging every 50", what, "bare loop", ratio, low, high)._asdict()


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


def test_the_page_is_made_from_the_files_alone(tmp_path: Path) -> None:
    rows = [run_row("LRRangeTest + one cycle", 1.0, 50), run_row("Prodigy", 1.0, None), run_row("Prodigy", 1.5, None)]
    rows.append(run_row("Prodigy", 1.0, 50, seed=1) | {"target": 0.6})  # an old one
    save("score", rows, tmp_path)
    save("targets", list(TARGETS.values()), tmp_path)
    save(
        "costs", [ratio_row(1.1, 1.0, 1.2), ratio_row(1.2, 1.1, 1.3, "HypergradientLR, settled")], tmp_path, factor=2.0
    )
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
    assert "Measured with 2 times the rounds of `make bench`." in page
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
    ratios = ratios_of_steps(TimedSteps(TINY_CNN, 2, 4, 2, ("bare loop", "CyclicalLR")))
    assert [(each.what, each.against) for each in ratios] == [("CyclicalLR", "bare loop")]
    assert ratios[0].ratio > 0


def test_light_steps_are_timed_in_processes_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.costs.steps.PARTS", 2)
    (ratios,) = ratios_of_light_steps([TimedSteps(SMALL, 1, 1, 2)])
    assert {each.what for each in ratios if each.kind == "step"} == {*LIGHT_CASES} - {"bare loop"}
    assert all(each.low < each.high for each in ratios)  # of two processes


def test_each_process_of_light_steps_has_orders_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []

    class InThisProcess:
        def __init__(self, *_: Any) -> None: ...

        def __enter__(self) -> InThisProcess:
            return self

        def __exit__(self, *_: Any) -> None: ...

        def submit(self, times_of_all: Any, settings: Any, seed: int) -> Future[Any]:
            seeds.append(seed)
            future: Future[Any] = Future()
            future.set_result(
                [{name: [1.0 + i * timed.log_every] for i, name in enumerate(LIGHT_CASES)} for timed in settings]
            )
            return future

    monkeypatch.setattr("benchmarks.costs.steps.ProcessPoolExecutor", InThisProcess)
    found = list(ratios_of_light_steps([TimedSteps(SMALL, 1, 1, 2), TimedSteps(SMALL, 50, 1, 2)]))
    assert seeds == [0, 1, 2, 3]
    assert [(ratios[0].where, ratios[0].ratio) for ratios in found] == [
        (f"{SMALL.name}, logging every {every}", 1 + every) for every in (1, 50)
    ]


NOT_CLICKS = [name for name in WORKLOADS if name != "clicks"]


@pytest.mark.parametrize(
    ("words", "alone", "anew", "runs", "long"),
    [
        ([], [("costs", ["--factor", "1"])], True, 8, 3),
        (
            ["--full", "--resume", "--workers", "1"],
            [
                ("targets", ["--length", "4", "--workers", "1", "--workloads", *NOT_CLICKS]),
                ("costs", ["--factor", "8"]),
            ],
            False,
            8 * 3 * 2,
            3 * 3 * 2,
        ),
    ],
)
def test_what_the_short_and_the_full_form_run(
    words: list[str], alone: list[Any], anew: bool, runs: int, long: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Targets that are in the file are not set again: all of length 1, and one of length 4."""
    known = [{"workload": name, "length": 1} for name in WORKLOADS] + [{"workload": "clicks", "length": 4}]
    called: list[Any] = []
    monkeypatch.setattr(bench, "load", lambda _: {"rows": known})
    for module, name in ((targets, "targets"), (costs, "costs"), (page, "page")):
        monkeypatch.setattr(module, "main", lambda words, name=name: called.append((name, words)))

    def start(keys: list[Any], _: Any, anew: bool) -> list[Any]:
        called.append(("long runs", (len(set(keys)), anew)))
        return []

    monkeypatch.setattr(long_runs, "start", start)
    monkeypatch.setattr(score, "measure", lambda keys, _, anew: called.append(("score", (len(set(keys)), anew))))
    bench.main(words)
    with_all = runs * (1 + len(contestants()))
    assert called == [*alone, ("long runs", (long, anew)), ("score", (with_all, anew)), ("page", [])]


def test_a_failure_of_a_long_run_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    failed: Future[Any] = Future()
    failed.set_exception(ValueError("a run failed"))
    pages: list[Any] = []
    for module in (targets, costs):
        monkeypatch.setattr(module, "main", lambda _: None)
    monkeypatch.setattr(page, "main", pages.append)
    monkeypatch.setattr(score, "measure", lambda *_: None)
    monkeypatch.setattr(long_runs, "start", lambda *_: [failed])
    with pytest.raises(ValueError, match="a run failed"):
        bench.main([])
    assert pages == []


def test_imports_are_timed_after_one_of_both(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []

    def seconds_of(runs: dict[str, Any], rounds: int) -> dict[str, list[float]]:
        called.append("timed")
        return dict.fromkeys(runs, [1.0] * rounds)

    monkeypatch.setattr(memory, "seconds_of", seconds_of)
    monkeypatch.setattr(subprocess, "run", lambda words, **_: called.append(words[-1]))
    assert memory.ratio_of_imports(2).ratio == 1
    assert called == ["import lightning.pytorch, lightning_lr", "timed"]
