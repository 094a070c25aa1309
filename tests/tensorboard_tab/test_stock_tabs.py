"""What TensorBoard's own tabs are given, as a server serves it with each of its two loaders."""

from __future__ import annotations

import json
import logging
import math
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from lightning_lr import CyclicalLR, HypergradientLR, LRRangeTest, LRSearch
from tests.helpers.lightning_classes import CSVLogger, TensorBoardLogger, seed_everything
from tests.helpers.lr_finder_runs import fit
from tests.helpers.tensorboard_server import TensorBoard, tensorboard
from tests.helpers.tiny_models import Classifier

pytestmark = pytest.mark.filterwarnings("ignore:LRRangeTest is not confident")

RUN = "version_0"
TAGS = "data/plugin/scalars/tags"


class TwoTests:
    """A run with range tests in two epochs, cycles and adaptation.

    Attributes:
        folder: of the logs.
        curves: learning rates and finite losses of each test, by the first part of its tags.
        lr: what the last test found.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.curves: dict[str, tuple[list[float], list[float]]] = {}
        first = LRRangeTest(num_steps=60, verify=False)
        second = LRRangeTest(num_steps=50, at_epochs=(2,), verify=False)
        callbacks = [first, second, CyclicalLR(step_size="1ep"), HypergradientLR()]
        seed_everything(0, verbose=False)  # for the weights
        fit(Classifier(), *callbacks, logger=TensorBoardLogger(folder, ""), max_epochs=4, log_every_n_steps=2)
        for tag, test in (("lr_range_test", first), ("lr_range_test/epoch_2", second)):
            assert test.result is not None
            finite = np.isfinite(test.result.curve.losses)
            self.curves[tag] = (test.result.curve.lrs[finite].tolist(), test.result.curve.losses[finite].tolist())
            self.lr = test.result.lr


@pytest.fixture(scope="module")
def two_tests(tmp_path_factory: pytest.TempPathFactory) -> TwoTests:
    return TwoTests(tmp_path_factory.mktemp("logs") / "run")


@pytest.fixture(scope="module", params=[True, False], ids=["fast loader", "Python loader"])
def board(two_tests: TwoTests, request: pytest.FixtureRequest) -> Iterator[TensorBoard]:
    with tensorboard(two_tests.folder, load_fast=request.param) as server:
        server.wait_for(TAGS, lambda tags: "lr/loss" in tags.get(RUN, {}))
        yield server


def test_a_second_range_test_leaves_the_first_one_whole(two_tests: TwoTests, board: TensorBoard) -> None:
    for tag, (lrs, losses) in two_tests.curves.items():
        of_lr, of_loss = board.scalars(RUN, f"{tag}/lr"), board.scalars(RUN, f"{tag}/loss")
        assert [value for _, value in of_lr] == pytest.approx(lrs, rel=1e-6)
        assert [value for _, value in of_loss] == pytest.approx(losses, rel=1e-6)
        assert [step for step, _ in of_lr] == [step for step, _ in of_loss]
        chart = board.scalars(RUN, f"{tag}/loss_vs_log10_lr_x1000")
        assert [step for step, _ in chart] == [round(1000 * math.log10(lr)) for lr in lrs]
        assert [value for _, value in chart] == pytest.approx(losses, rel=1e-6)


def test_no_step_of_a_tag_goes_back(board: TensorBoard) -> None:
    for tag in board.get(TAGS)[RUN].keys() - {"epoch"}:  # Lightning logs the epoch twice at its last step
        steps = [step for step, _ in board.scalars(RUN, tag)]
        assert steps == sorted(set(steps)), tag


def test_there_are_no_charts_that_nobody_reads(board: TensorBoard) -> None:
    tags = set(board.get(TAGS)[RUN])
    assert {"lr/SGD", "lr/loss", "hypergradient/alignment/SGD", "hypergradient/log10_scale/SGD"} <= tags
    noise = re.compile(r"rung|lr_search/lr|not_finite|cycle$|phase$|hypergradient/scale")
    assert [tag for tag in tags if noise.search(tag)] == []


def test_each_chart_of_the_custom_layout_shows_something(board: TensorBoard) -> None:
    layout = board.get("data/plugin/custom_scalars/layout")
    charts = {
        (category["title"], chart["title"]): chart["multiline"]["tag"]
        for category in layout["category"]
        for chart in category["chart"]
    }
    assert [title for _, title in charts] == [
        "learning rate of each group",
        "loss",
        "alignment",
        "log10 of the scale",
        "loss against 1000 log10(lr)",
    ]
    for title, (pattern,) in charts.items():
        answer = board.get("data/plugin/custom_scalars/scalars", run=RUN, tag=pattern)
        assert answer["regex_valid"], title
        assert answer["tag_to_events"], title


def test_hparams_shows_the_rate_that_was_found(two_tests: TwoTests, board: TensorBoard) -> None:
    """As a metric. The record of hyperparameters keeps the value that the run began with."""

    def post(path: str, body: dict[str, Any]) -> Any:
        url = f"{board.address}/data/plugin/hparams/{path}"
        request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())

    metrics = post("experiment", {"experimentName": ""})["metricInfos"]
    names = [metric["name"] for metric in metrics]
    assert {name["tag"] for name in names} == {"hp_metric", *(f"{tag}/{key}" for tag in FINDERS for key in KEYS)}
    columns = [{"metric": name} for name in names]
    request = {"experimentName": "", "allowedStatuses": [f"STATUS_{each}" for each in STATUSES], "colParams": columns}
    (group,) = post("session_groups", {**request, "startIndex": 0, "sliceSize": 10})["sessionGroups"]
    values = {each["name"]["tag"]: each["value"] for each in group["metricValues"]}
    first_lr = board.scalars(RUN, "lr_range_test/suggested_lr")[-1][1]
    assert values["lr_range_test/suggested_lr"] == pytest.approx(first_lr)
    assert group["hparams"]["lr"] == 0.01


FINDERS = ("lr_range_test", "lr_search")
KEYS = ("suggested_lr", "base_lr", "max_lr")
STATUSES = ("UNKNOWN", "SUCCESS", "FAILURE", "RUNNING")


def test_the_last_line_says_how_to_open_the_charts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "my logs"
    with caplog.at_level(logging.INFO):
        fit(Classifier(), CyclicalLR(0.01, 0.1, 5), logger=TensorBoardLogger(folder, ""), max_epochs=1)
    (line,) = [each.getMessage() for each in caplog.records if "tensorboard --logdir" in each.getMessage()]
    command, *addresses = re.findall(r"tensorboard --logdir '[^']+'|http://\S+", line)
    assert Path(command.split("'")[1]) == folder
    tab, stock = (urlsplit(address) for address in addresses)
    assert (tab.fragment, stock.fragment) == ("lightning_lr", "timeseries")
    (pattern,) = parse_qs(stock.query)["tagFilter"]
    shown = ["lr/SGD", "lr/loss", "hypergradient/alignment/SGD", "lr_range_test/loss_vs_log10_lr_x1000"]
    assert all(re.search(pattern, tag) for tag in shown)
    assert not re.search(pattern, "epoch")


def test_no_line_without_tensorboard(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        fit(Classifier(), CyclicalLR(0.01, 0.1, 5), logger=CSVLogger(tmp_path), max_epochs=1)
    assert "tensorboard" not in caplog.text


def test_a_search_beside_a_range_test_has_tags_for_each(tmp_path: Path) -> None:
    search, test = LRSearch(1e-3, 1.0, budget=800, apply=False), LRRangeTest(num_steps=20)
    fit(Classifier(), search, test, logger=TensorBoardLogger(tmp_path / "both", ""), max_epochs=1)
    assert search.result is not None
    with tensorboard(tmp_path / "both") as server:
        server.wait_for(TAGS, lambda tags: "lr_search/epoch_0/suggested_lr" in tags.get(RUN, {}))
        ((_, lr),) = server.scalars(RUN, "lr_search/suggested_lr")
    assert lr == pytest.approx(search.result.lr)
