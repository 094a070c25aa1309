"""The curve in trackers other than TensorBoard, with fakes of what their clients can do."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from matplotlib.figure import Figure

from lightning_lr import LRRangeTest, LRSearch
from tests.helpers.lightning_classes import CSVLogger, Logger
from tests.helpers.lr_finder_runs import SHORT_SEARCH, fit
from tests.helpers.tiny_models import Classifier

pytestmark = pytest.mark.filterwarnings("ignore:LR.* is not confident")


class Tracker(Logger):
    """A logger with a given experiment, which notes what is logged, in order."""

    name = "tracker"
    version = 0
    run_id = "run 1"
    LOGGER_JOIN_CHAR = "-"

    def __init__(self, experiment: Any, calls: list[Any], prefix: str = "") -> None:
        super().__init__()
        self._experiment, self._calls = experiment, calls
        self._prefix = prefix

    @property
    def experiment(self) -> Any:
        return self._experiment

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        self._calls.append(("log_metrics", dict(metrics)))

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        pass


def noting(calls: list[Any], name: str) -> Any:
    return lambda *args, **kwargs: calls.append((name, args, kwargs))


def named(calls: list[Any], name: str) -> list[Any]:
    return [call for call in calls if call[0] == name]


def curve_of(test: LRRangeTest) -> tuple[list[float], list[float]]:
    assert test.result is not None
    curve = test.result.curve
    finite = curve.num_finite
    return curve.lrs[:finite].tolist(), curve.losses[:finite].tolist()


def test_comet_gets_a_curve() -> None:
    calls: list[Any] = []
    experiment = SimpleNamespace(log_curve=noting(calls, "log_curve"), log_figure=noting(calls, "log_figure"))
    test = LRRangeTest(num_steps=30, verify=False)
    fit(Classifier(), test, logger=Tracker(experiment, calls), max_epochs=1)
    ((_, (name,), given),) = named(calls, "log_curve")
    lrs, losses = curve_of(test)
    assert name == "lr_range_test/loss_vs_lr"
    assert given == {"x": pytest.approx(lrs), "y": pytest.approx(losses), "step": 0}


@pytest.mark.parametrize("prefix", ["", "mine"])
def test_wandb_gets_the_rate_as_the_axis_and_a_line_chart(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    wandb = SimpleNamespace(
        Table=lambda columns, data: (columns, data),
        plot=SimpleNamespace(line=lambda table, x, y, title: (table, x, y, title)),
    )
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    experiment = SimpleNamespace(define_metric=noting(calls, "define_metric"), log=noting(calls, "log"))
    test = LRRangeTest(num_steps=30, verify=False)
    fit(Classifier(), test, logger=Tracker(experiment, calls, prefix), max_epochs=1)
    before = f"{prefix}-" if prefix else ""
    assert [call[1:] for call in named(calls, "define_metric")] == [
        ((f"{before}lr_range_test/{key}",), {"step_metric": f"{before}lr_range_test/lr"})
        for key in ("loss", "loss_smoothed")
    ]
    assert calls.index(named(calls, "define_metric")[-1]) < calls.index(named(calls, "log_metrics")[0])
    ((_, (logged,), _),) = named(calls, "log")
    table, x, y, _ = logged[f"{before}lr_range_test/loss_vs_lr"]
    lrs, losses = curve_of(test)
    assert (table[0], x, y) == (["lr", "loss"], "lr", "loss")
    assert [row[0] for row in table[1]] == pytest.approx(lrs)
    assert [row[1] for row in table[1]] == pytest.approx(losses)


def test_mlflow_gets_the_figure_and_a_table() -> None:
    calls: list[Any] = []
    names = ("log_figure", "log_table", "get_run")
    experiment = SimpleNamespace(**{name: noting(calls, name) for name in names})
    search = LRSearch(**SHORT_SEARCH)
    fit(Classifier(), search, logger=Tracker(experiment, calls), max_epochs=1)
    ((_, (run_id, figure, path), _),) = named(calls, "log_figure")
    assert (run_id, path) == ("run 1", "lr_search/score_vs_lr.png")
    assert isinstance(figure, Figure)
    ((_, (_, table, table_path), _),) = named(calls, "log_table")
    assert table_path == "lr_search/score_vs_lr.json"
    assert search.result is not None
    scores = {each.lr: each.score for each in search.result.candidates}
    assert table["lr"] == sorted(table["lr"])
    assert [scores[lr] for lr in table["lr"]] == table["score"]


def test_a_tracker_that_fails_does_not_end_the_training() -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError("no network")

    test = LRRangeTest(num_steps=30, verify=False)
    with pytest.warns(UserWarning, match="Tracker did not take the chart lr_range_test/loss_vs_lr: no network"):
        fit(Classifier(), test, logger=Tracker(SimpleNamespace(log_curve=fail), []), max_epochs=1)
    assert test.result is not None


def test_a_row_of_a_csv_file_has_rate_and_loss_together(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path)
    fit(Classifier(), LRRangeTest(num_steps=30, verify=False), logger=logger, log_every_n_steps=1, max_epochs=1)
    with (Path(logger.log_dir) / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    for lr, loss in (("lr_range_test/lr", "lr_range_test/loss"), ("lr/SGD", "lr/loss")):
        with_lr = [row for row in rows if row[lr]]
        assert len(with_lr) >= 20
        assert all(row[loss] for row in with_lr)
