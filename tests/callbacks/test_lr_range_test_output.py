"""What `LRRangeTest` sends to loggers, writes to files and warns of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_lr import LRRangeTest
from lightning_lr.range_test.curve import LRCurve
from lightning_lr.range_test.figure import range_test_figure
from lightning_lr.range_test.suggestion import Suggestion, suggest
from tests.helpers.lightning_classes import CSVLogger, TensorBoardLogger
from tests.helpers.lr_finder_runs import LossIsBatchNumber, fit, lrs
from tests.helpers.tiny_models import Classifier, loader, quiet_trainer

UNSURE = "ignore:LRRangeTest is not confident"
pytestmark = pytest.mark.filterwarnings(UNSURE)


def test_loggers_get_curve_and_result(tmp_path: Path) -> None:
    test = LRRangeTest(num_steps=30, verify=False)
    board, csv = TensorBoardLogger(tmp_path, "board"), CSVLogger(tmp_path, "csv")
    fit(Classifier(), test, logger=[board, csv], log_every_n_steps=5, max_epochs=1)
    assert test.result is not None
    curve = test.result.curve
    finite = np.isfinite(curve.losses)

    events = EventAccumulator(board.log_dir).Reload()
    lrs, losses = ([event.value for event in events.Scalars(f"lr_range_test/{key}")] for key in ("lr", "loss"))
    assert lrs == pytest.approx(curve.lrs[finite], rel=1e-6)
    assert losses == pytest.approx(curve.losses[finite], rel=1e-6)
    assert [e.value for e in events.Scalars("lr_range_test/loss_smoothed")] == pytest.approx(
        curve.smoothed()[finite], rel=1e-6
    )
    steps = [event.step for event in events.Scalars("lr_range_test/loss_vs_log10_lr_x1000")]
    assert steps == [round(1000 * np.log10(lr)) for lr in curve.lrs[finite]]
    assert [e.value for e in events.Scalars("lr_range_test/suggested_lr")] == [pytest.approx(test.result.lr)]
    assert events.Tags()["images"] == ["lr_range_test/curve"]
    assert [e.value for e in events.Scalars("lr/SGD")] == pytest.approx([test.result.lr] * 4)

    header = (Path(csv.log_dir) / "metrics.csv").read_text().splitlines()[0]
    assert {"lr_range_test/lr", "lr_range_test/loss", "lr_range_test/suggested_lr"} <= set(header.split(","))


def test_output_dir(tmp_path: Path) -> None:
    test = LRRangeTest(num_steps=20, output_dir=tmp_path / "curves", verify=False)
    fit(Classifier(), test)
    assert test.result is not None
    files = {path.name for path in (tmp_path / "curves").iterdir()}
    assert files == {"lr_range_test.csv", "lr_range_test.json", "lr_range_test.png"}
    curve = LRCurve.from_csv(tmp_path / "curves" / "lr_range_test.csv")
    assert suggest(curve, update="momentum").lr == pytest.approx(test.result.lr)
    written = json.loads((tmp_path / "curves" / "lr_range_test.json").read_text())
    assert (written["lr"], written["epoch"], written["monitor"], written["rule"]) == (test.result.lr, 0, "loss", "dual")
    assert written["curve"]["lrs"] == test.result.curve.lrs.tolist()
    assert written["arguments"] == test.state_dict()["arguments"]
    assert set(written["versions"]) == {"lightning_lr", "lightning", "torch"}


def test_everything_says_the_learning_rate_that_was_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not that of the sweep, which the trials replace."""
    drawn: list[Suggestion] = []

    def figure(curve: LRCurve, chosen: Suggestion, *rest: Any) -> Any:
        drawn.append(chosen)
        return range_test_figure(curve, chosen, *rest)

    monkeypatch.setattr("lightning_lr.trainer.range_test_report.range_test_figure", figure)
    test, board = LRRangeTest(num_steps=40, output_dir=tmp_path / "found"), TensorBoardLogger(tmp_path, "board")
    trainer = fit(Classifier(), test, logger=board, log_every_n_steps=5)
    assert test.result is not None
    of_sweep = suggest(test.result.curve, update="momentum").lr
    lr = test.result.lr
    assert lr != pytest.approx(of_sweep)
    assert lrs(trainer) == [lr]
    written = json.loads((tmp_path / "found" / "lr_range_test.json").read_text())
    bounds = (written["lr"], written["max_lr"], written["decay_lr"])
    assert bounds == (lr, test.result.max_lr, test.result.decay_lr)
    assert written["lrs_of_rules"]["dual"] == pytest.approx(of_sweep)
    search = json.loads((tmp_path / "found" / "lr_search.json").read_text())
    assert (search["lr"], search["decay_lr"]) == (lr, test.result.decay_lr)
    assert written["search"] == {key: search[key] for key in written["search"]}  # with all trials
    events = EventAccumulator(board.log_dir).Reload()
    for tag in ("lr_range_test", "lr_search"):
        assert [e.value for e in events.Scalars(f"{tag}/suggested_lr")] == [pytest.approx(lr)]
    assert [each.lr for each in drawn] == [lr]


def test_nothing_is_written_unless_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fit(Classifier(), LRRangeTest(num_steps=20, verify=False), default_root_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("default:LRRangeTest is not confident")
def test_reasons_are_told_when_unsure() -> None:
    with pytest.warns(UserWarning, match="not confident"):
        fit(LossIsBatchNumber(), LRRangeTest(num_steps=20, verify=False))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a process that has used CUDA cannot fork")
def test_a_result_that_stays_in_other_processes_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(text: str) -> None:
        with (tmp_path / "said").open("a") as file:  # memory of the other process is not seen here
            file.write(text)

    monkeypatch.setattr("lightning_lr.callbacks._lr_finder.rank_zero_info", write)
    test = LRRangeTest(num_steps=20, verify=False)
    quiet_trainer(callbacks=[test], strategy="ddp_fork", accelerator="cpu", devices=1).fit(Classifier(), loader())
    assert test.result is None
    assert "its result stays in the processes that Lightning starts" in (tmp_path / "said").read_text()
