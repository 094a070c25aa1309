"""The benchmark of rules that adapt the learning rate, with runs of a few steps."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from benchmarks import adaptation
from benchmarks.adaptation import parse_arguments, rows_of, runs_of
from benchmarks.adaptation_contestants import CONTESTANTS, NOTHING
from benchmarks.adaptation_runs import BEST, Run, add_to_csv, read_csv, results_of, train_run
from benchmarks.suite import SETTINGS
from benchmarks.suite.engine import train_copies
from benchmarks.suite.scheduled import SCHEDULES, Schedule, factor, truth_under
from benchmarks.suite.training import Ended, train
from benchmarks.suite.wrapped_optimizers import DoG, Mechanic, MetaOptimize

STEPS = 12
WITHOUT_PACKAGES = [
    name for name, contestant in CONTESTANTS.items() if not (contestant.package or contestant.finds_lr)
]  # a range test would take longer than these runs
WITHOUT_PACKAGES.remove("HypergradientLR without decay")


class RecordedLRs(Callback):
    """The learning rates that each step is made with."""

    def __init__(self) -> None:
        self.lrs: list[list[float]] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.lrs.append([group["lr"] for optimizer in trainer.optimizers for group in optimizer.param_groups])


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("setting", "ratios"), [("diabetes", [1.0]), ("gpt_muon", [1.0, 0.3])])
def test_schedules_are_those_of_the_recorded_trainings(
    setting: str, ratios: list[float], schedule: Schedule
) -> None:  # with one optimizer, and with two in manual optimization
    recorded = RecordedLRs()
    train(SETTINGS[setting](), 0, 1e-3, schedule, STEPS, lambda: [recorded])
    expected = [[1e-3 * factor(schedule, step, STEPS) * ratio for ratio in ratios] for step in range(STEPS)]
    np.testing.assert_allclose(recorded.lrs, expected, rtol=1e-6)


def test_a_training_is_that_of_the_recorded_trainings() -> None:
    setting = SETTINGS["diabetes"]()
    losses = train_copies(setting, np.full((1, STEPS), 1e-2), [1])
    assert train(setting, 1, 1e-2, "alone", STEPS).loss == pytest.approx(losses.mean(), rel=1e-5)


@pytest.mark.parametrize("name", WITHOUT_PACKAGES)
def test_contestants_train(name: str) -> None:
    start = 1e-3 if CONTESTANTS[name].lr is None else None
    ended = train_run(Run("diabetes", 0, name, "line", start, STEPS))
    assert math.isfinite(ended.loss)
    assert math.isfinite(ended.validation)


def test_a_diverged_training_has_an_infinite_loss_and_a_gap_of_1() -> None:
    run = Run("diabetes", 0, NOTHING, "alone", 1e30, STEPS)
    ended = train_run(run)
    assert math.isinf(ended.loss)
    assert truth_under("diabetes", "alone").gap_of_loss(ended.loss).log == 1.0


def test_harm_is_against_the_same_run_without_adaptation_where_that_ends_near_the_best() -> None:
    words = ["--settings", "diabetes", "--seeds", "0", "--schedules", "line", "--contestants", "MetaOptimize"]
    runs = runs_of(parse_arguments(words))
    assert [run.contestant for run in runs] == [BEST, *[NOTHING] * 4, *["MetaOptimize"] * 4]
    truth = truth_under("diabetes", "line")
    best, worst = float(truth.losses.min()), truth.initial
    of_gap: Callable[[float], Ended] = lambda gap: Ended(best * (worst / best) ** gap, 1.0)  # noqa: E731
    gaps = dict(zip(runs, (0.0, 0.9, 0.2, 0.1, 0.0, 0.5, 0.3, 0.05, 0.2), strict=True))
    rows = rows_of(runs, {run: of_gap(gap) for run, gap in gaps.items()})
    assert [row.gap for row in rows] == pytest.approx(list(gaps.values()))
    assert [row.harm for row in rows[:6]] == [None] * 6
    assert [row.harm for row in rows[6:]] == pytest.approx([0.1, -0.05, 0.2])


def test_the_table_has_a_line_for_each_contestant(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = truth_under("diabetes", "alone")
    best, worst = float(truth.losses.min()), truth.initial

    def results_of(runs: list[Run], *_: Any) -> dict[Run, Ended]:  # DoG and the last start diverge, all else is best
        return {run: Ended(math.inf if run.start == 1 or run.contestant == "DoG" else best, worst / 2) for run in runs}

    monkeypatch.setattr(adaptation, "results_of", results_of)
    words = ["--settings", "diabetes", "--seeds", "0", "1", "--schedules", "alone", "--contestants", "nothing", "DoG"]
    monkeypatch.setattr("sys.argv", ["adaptation", *words])
    adaptation.main()
    out = capsys.readouterr().out
    assert "| diabetes | sgdm | alone | 0.00 | 0.00 / 0.00 / 0.00 / 1.00 | 1.00 |" in out
    assert "| nothing | 8 | 0.75 | 0.250 | 0.250 | 1.00 | 1.00 | 1.00 | 1.00 | 0.00 |  | 0.000 |" in out
    assert "| DoG | 2 | 0.00 | 1.000 | 1.000 | 1.00 |  |  |  |  |  | 0.000 |" in out


def test_runs_that_the_file_holds_are_not_made_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "runs.csv"
    held = {
        Run("diabetes", 0, "DoG", "alone", None, 600): Ended(0.9, 0.8),
        Run("diabetes", 0, NOTHING, "line", 1e-6, 600): Ended(float("inf"), 0.8),
    }
    for run, ended in held.items():
        add_to_csv(path, run, ended)
    assert read_csv(path) == held
    assert results_of(list(held), 1, path) == held
    assert f"2 of 2 runs are taken from {path}." in capsys.readouterr().err


def test_a_contestant_whose_package_is_missing_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = dataclasses.replace(CONTESTANTS["Prodigy"], package="no_such_package")
    monkeypatch.setitem(CONTESTANTS, "Prodigy", missing)
    assert parse_arguments(["--contestants", "DoG", "Prodigy"]).contestants == ["DoG"]
    assert capsys.readouterr().err == "Prodigy is left out: no_such_package is not installed.\n"


def minimise(make_optimizer: Callable[[list[Tensor]], torch.optim.Optimizer], steps: int) -> list[float]:
    """The values of a number that is moved to 3, from 1."""
    number = nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    optimizer = make_optimizer([number])
    values = [1.0]
    for _ in range(steps):
        number.grad = number.detach() - 3
        optimizer.step()
        values.append(number.item())
    return values


def test_dog() -> None:
    values, squares, distance = [1.0], 0.0, 2e-6
    for _ in range(30):
        distance = max(distance, max(abs(value - 1) for value in values))
        grad = values[-1] - 3
        squares += grad**2
        values.append(values[-1] - distance / math.sqrt(squares + 1e-8) * grad)
    assert minimise(DoG, 30) == pytest.approx(values)


def test_mechanic() -> None:
    betas = 1 - 0.1 ** np.arange(1.0, 7.0)
    scales, wins, squares, largest = np.zeros(6), np.zeros(6), np.zeros(6), np.full(6, 1e-6)
    values, total = [1.0], 0.0
    for _ in range(30):
        grad = values[-1] - 3
        product = total * (grad + 0.01 * scales.sum() * abs(grad) * np.sign(values[-1]))
        total -= grad  # a step of SGD
        largest = np.maximum(betas * largest, abs(product))
        squares = betas**2 * squares + product**2
        wins = np.maximum(0, betas * wins - scales * product)
        scales = (1e-8 / 6 * largest + wins) / (np.sqrt(squares) + 1e-8)
        values.append(1 + scales.sum() * total)
    assert minimise(lambda params: Mechanic(torch.optim.SGD(params, 1.0)), 30) == pytest.approx(values)


def test_meta_optimize_raises_the_rate_while_steps_are_too_short() -> None:
    made: list[MetaOptimize] = []

    def make(params: list[Tensor]) -> torch.optim.Optimizer:
        made.append(MetaOptimize(torch.optim.SGD(params, 1e-3)))
        return made[0]

    values = minimise(make, 11)
    assert made[0].log_scale.item() == pytest.approx(10 * 1e-3)  # not in the first step
    assert made[0].param_groups[0]["lr"] == 1e-3
    assert values[-1] - values[-2] == pytest.approx(1e-3 * math.exp(10 * 1e-3) * (3 - values[-2]))
