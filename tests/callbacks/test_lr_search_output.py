"""What `LRSearch` sends to loggers, prints and writes to files."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_lr import LRSearch
from lightning_lr.trainer import loggers
from tests.helpers.lightning_classes import CSVLogger, TensorBoardLogger
from tests.helpers.lr_finder_runs import SHORT_SEARCH, fit, found
from tests.helpers.tiny_models import Classifier

pytestmark = pytest.mark.filterwarnings("ignore:LRSearch is not confident")


def test_loggers_get_every_trial(tmp_path: Path) -> None:
    search = LRSearch(1e-3, 100.0)
    board, table = TensorBoardLogger(tmp_path, "board"), CSVLogger(tmp_path, "csv")
    fit(Classifier(), search, logger=[board, table], log_every_n_steps=5, max_epochs=1)
    bracket = search._search.bracket  # type: ignore[union-attr]
    events = EventAccumulator(board.log_dir, {"tensors": 0}).Reload()
    candidates = sorted(found(search).candidates, key=lambda each: each.lr)
    finite = {round(1000 * math.log10(each.lr)): each.score for each in candidates if math.isfinite(each.score)}
    assert 0 < len(finite) < len(candidates)
    chart = events.Scalars("lr_search/score_vs_log10_lr_x1000")
    assert [event.step for event in chart] == list(finite)
    assert [event.value for event in chart] == pytest.approx(list(finite.values()), rel=1e-6)
    assert not {"lr_search/lr", "lr_search/rung", "lr_search/score"} & set(events.Tags()["scalars"])
    assert [e.value for e in events.Scalars("lr_search/suggested_lr")] == [pytest.approx(found(search).lr)]
    assert events.Tags()["images"] == ["lr_search/trials"]
    (text,) = events.Tensors("lr_search/leaderboard/text_summary")
    assert b"| lr | verdict | score |" in text.tensor_proto.string_val[0]
    with (Path(table.log_dir) / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["lr_search/lr"]]
    scores = [each.score if math.isfinite(each.score) else None for each in bracket.told]
    assert [float(row["lr_search/lr"]) for row in rows] == pytest.approx([each.lr for each in bracket.told])
    assert [float(row["lr_search/score"]) if row["lr_search/score"] else None for row in rows] == pytest.approx(scores)


def test_terminal_and_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "180")
    search = LRSearch(1e-3, 100.0, output_dir=tmp_path / "found")
    fit(Classifier(), search, enable_progress_bar=True)
    shown = capsys.readouterr().out
    assert f"LR search: loss of {len(search._search.bracket.told)} trials" in shown  # type: ignore[union-attr]
    for words in ("very high: diverges", "good: the best", "low: learns slowly", "could not catch up with"):
        assert words in shown
    assert {path.name for path in (tmp_path / "found").iterdir()} == {
        f"lr_search.{kind}" for kind in ("csv", "json", "png")
    }
    fit(Classifier(), LRSearch(1e-3, 100.0))  # without a progress bar
    assert "LR search" not in capsys.readouterr().out
    with (tmp_path / "found" / "lr_search.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["lr"]) for row in rows] == pytest.approx([each.lr for each in found(search).candidates], rel=1e-2)
    written = json.loads((tmp_path / "found" / "lr_search.json").read_text())
    assert written["lr"] == found(search).lr
    assert [each["verdict"] for each in written["candidates"]] == [row["verdict"] for row in rows]


def test_the_figure_has_the_suggested_learning_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    titles: list[str] = []
    monkeypatch.setattr(loggers, "log_figure", lambda *given: titles.append(given[2].axes[0].get_title()))
    search = LRSearch(**SHORT_SEARCH, output_dir=tmp_path)
    fit(Classifier(), search)
    assert found(search).lr != found(search).candidates[0].lr  # with SGD
    assert [title.split()[:3] for title in titles] == [["lr", "=", f"{found(search).lr:.2g}"]]


def test_nothing_is_written_unless_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fit(Classifier(), LRSearch(**SHORT_SEARCH), default_root_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []
