"""The tab without a browser: what it reads, what it keeps, and that nothing that fails reaches TensorBoard."""

from __future__ import annotations

import json
import math
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tensorboard.context import RequestContext
from torch.utils.tensorboard import SummaryWriter
from werkzeug.test import Client

from lightning_lr import HypergradientLR, LRRangeTest
from lightning_lr_tensorboard.plugin import LearningRatePlugin
from lightning_lr_tensorboard.reader import RunReader
from lightning_lr_tensorboard.record import summary_of
from tests.helpers.lightning_classes import TensorBoardLogger, seed_everything
from tests.helpers.lr_finder_runs import fit
from tests.helpers.tensorboard_server import TensorBoard, tensorboard
from tests.helpers.tiny_models import Classifier

ADAPTATION_TAGS = ("hypergradient/alignment/SGD", "hypergradient/log10_scale/SGD")
ROOT = Path(__file__).parents[2]
RUNS = "data/plugin/lightning_lr/runs"
DATA = "data/plugin/lightning_lr/data"


def write(
    folder: Path, scalars: dict[str, dict[int, float]], records: dict[str, Any] | None = None, step: int = 0
) -> None:
    with SummaryWriter(folder) as writer:
        for tag, points in scalars.items():
            for at, value in points.items():
                writer.add_scalar(tag, value, at)
        for tag, record in (records or {}).items():
            writer._get_file_writer().add_summary(summary_of(tag, record), step)


def read(board: TensorBoard, run: str) -> dict[str, Any]:
    board.wait_for(RUNS, lambda answer: run in {each["name"] for each in answer["runs"]})
    (found,) = board.get(DATA, run=run)["runs"]
    return dict(found)


def test_imports_neither_torch_nor_lightning() -> None:
    """TensorBoard imports the plugin when it starts."""
    code = "import sys, lightning_lr_tensorboard.plugin, lightning_lr_tensorboard.reader; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True, text=True).stdout
    heavy = {"torch", "lightning", "pytorch_lightning", "lightning_lr", "matplotlib"}
    assert not heavy & set(modules.split())


def test_entry_point_names_the_plugin() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    match = re.search(r'\[project\.entry-points\.tensorboard_plugins\]\nlightning_lr = "(.+)"', text)
    assert match is not None
    assert pkgutil.resolve_name(match[1]) is LearningRatePlugin


def test_every_file_of_the_page_is_served(tmp_path: Path) -> None:
    client = client_of(SimpleNamespace())
    for path in (ROOT / "lightning_lr_tensorboard" / "static").iterdir():
        answer = client.get(f"/{path.name}")
        assert answer.status_code == 200
        assert answer.data == path.read_bytes()
        assert answer.mimetype == {".js": "text/javascript", ".css": "text/css"}[path.suffix]
        imported = re.findall(r'from "\./(\w+\.js)"', path.read_text())
        assert all((path.parent / name).is_file() for name in imported)
        assert "http://" not in path.read_text().replace("http://www.w3.org/", "")  # nothing comes from the network


def client_of(provider: Any) -> Client:
    """A client of the plugin, over a data provider of TensorBoard."""
    plugin = LearningRatePlugin(SimpleNamespace(data_provider=provider, sampling_hints=None))
    apps = plugin.get_plugin_apps()
    return Client(lambda environ, start: apps[environ["PATH_INFO"]](environ, start))


class BrokenProvider:
    def list_scalars(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("the disk is gone")


@pytest.mark.parametrize("provider", [BrokenProvider(), None])
def test_a_failure_is_an_answer_with_its_text(provider: Any) -> None:
    answer = client_of(provider).get("/runs")
    assert answer.status_code == 500
    assert answer.mimetype == "application/json"
    text = json.loads(answer.data)["error"]
    assert "the disk is gone" in text if provider else "NoneType" in text
    assert LearningRatePlugin(SimpleNamespace(data_provider=provider, sampling_hints={})).is_active()


class CountingProvider:
    """Counts how often the points of a run are read."""

    def __init__(self) -> None:
        self.last_step = 3
        self.reads = 0

    def list_scalars(self, context: Any, *, run_tag_filter: Any = None, **kwargs: Any) -> Any:
        series = SimpleNamespace(max_step=self.last_step, max_wall_time=1.0)
        return {"run": {"lr": series, "loss": series, "val_acc": series}, "other": {"val_acc": series}}

    def list_tensors(self, context: Any, **kwargs: Any) -> Any:
        return {}

    def read_tensors(self, context: Any, **kwargs: Any) -> Any:
        return {}

    def read_scalars(self, context: Any, *, run_tag_filter: Any, downsample: int, **kwargs: Any) -> Any:
        self.reads += 1
        assert set(run_tag_filter.tags) == {"lr", "loss"}
        assert downsample == 1000
        values = [
            SimpleNamespace(step=step, value=math.nan if step == 1 else 0.5) for step in range(self.last_step + 1)
        ]
        return {"run": dict.fromkeys(run_tag_filter.tags, values)}


def test_a_run_is_read_again_only_when_it_has_grown() -> None:
    provider = CountingProvider()
    client = client_of(provider)
    first = json.loads(client.get("/runs").data)["runs"]
    assert [run["name"] for run in first] == ["run"]  # the other one has no learning rate
    for _ in range(3):
        (run,) = json.loads(client.get("/data?run=run&run=other").data)["runs"]
        assert run["training"]["loss"]["loss"]["steps"] == [0, 2, 3]
    assert provider.reads == 1
    provider.last_step = 9
    assert json.loads(client.get("/runs").data)["runs"] != first
    (run,) = json.loads(client.get("/data?run=run").data)["runs"]
    assert run["training"]["loss"]["loss"]["steps"][-1] == 9
    assert provider.reads == 2


def test_all_points_if_tensorboard_is_told_so() -> None:
    assert RunReader(None, {"scalars": 0})._points > 10**6
    assert RunReader(None, {"scalars": 50})._points == 50


def test_a_record_keeps_all_points_and_a_broken_one_is_a_warning(tmp_path: Path) -> None:
    lrs = [1e-7 * 1.001**i for i in range(5000)]
    curve = {"kind": "range_test", "lrs": lrs, "values": [math.nan, *[1.0] * 4999], "lr": 0.1}
    records = {"lr_range_test/record": curve, "lr_search/record": {"kind": "search", "candidates": [], "lr": math.inf}}
    write(tmp_path / "logs" / "run", {"lr": {0: 0.1}, "loss": {0: 1.0}}, records)
    broken = summary_of("lr_range_test/epoch_3/record", {})
    broken.value[0].tensor.string_val[0] = b"[1, 2"
    with SummaryWriter(tmp_path / "logs" / "run") as writer:
        writer._get_file_writer().add_summary(broken, 0)
    with tensorboard(tmp_path / "logs") as board:
        run = read(board, "run")
    (test,) = run["range_tests"]
    assert test["lrs"] == pytest.approx(lrs, rel=1e-6)
    assert test["values"] == [None, *[1.0] * 4999]
    assert run["searches"][0]["lr"] is None
    assert len(run["warnings"]) == 1
    assert "lr_range_test/epoch_3/record" in run["warnings"][0]


@pytest.mark.parametrize(
    "text",
    [b'{"kind":"cycles"}', b'{"kind":"range_test","lr":NaN}', b"[" * 100_000, b'{"kind":"search","step":"1"}'],
    ids=["without starts", "NaN", "nested too deep", "a step that is no number"],
)
def test_a_wrong_record_hides_neither_the_scalars_nor_other_runs(text: bytes) -> None:
    class Provider(CountingProvider):
        def read_tensors(self, context: Any, **kwargs: Any) -> Any:
            points = {"lr_search/record": text, "lr_search/epoch_1/record": b'{"kind":"search","step":2}'}
            series = {tag: [SimpleNamespace(numpy=SimpleNamespace(item=lambda t=t: t))] for tag, t in points.items()}
            return {"run": series}

    answer = client_of(Provider()).get("/data?run=run")
    (run,) = json.loads(answer.data)["runs"]
    assert run["training"]["loss"]["loss"]["steps"] == [0, 2, 3]
    assert len(run["warnings"]) == 1
    assert "cannot be read" in run["warnings"][0]


def test_logs_of_older_versions_show_what_their_scalars_say(tmp_path: Path) -> None:
    """Without records, with several sweeps under one tag, and with the scale itself."""
    lrs = {0: 1e-3, 1: 1e-2, 2: 1e-1, 10: 1e-4, 11: 1e-2}
    losses = {step: 2.0 - lr for step, lr in lrs.items()}
    scalars = {
        "lr_range_test/lr": lrs,
        "lr_range_test/loss": losses,
        "lr_range_test/loss_smoothed": losses,
        "lr_range_test/suggested_lr": {0: 0.5, 10: 0.25},
        "lr_search/lr": {0: 0.1, 1: 1.0, 2: 0.1},
        "lr_search/score": {0: 0.7, 2: 0.3},
        "lr_search/rung": {0: 0.0, 1: 0.0, 2: 1.0},
        "lr/SGD": {0: 0.1},
        "lr/loss": {0: 1.0},
        "hypergradient/scale/SGD": {0: 100.0, 1: 0.0},
    }
    write(tmp_path / "logs" / "run", scalars)
    with tensorboard(tmp_path / "logs", load_fast=False) as board:
        run = read(board, "run")
    first, second = run["range_tests"]
    assert first["lrs"] == pytest.approx([1e-3, 1e-2, 1e-1])
    assert second["lrs"] == pytest.approx([1e-4, 1e-2])
    assert (first["monitor"], first["lr"], second["lr"]) == ("loss", 0.5, 0.25)
    (search,) = run["searches"]
    candidates = search["candidates"]
    assert [each["lr"] for each in candidates] == pytest.approx([0.1, 1.0])
    assert [each["rung"] for each in candidates] == [1, 0]
    assert [each["score"] for each in candidates] == [pytest.approx(0.3), None]
    assert run["training"]["log10_scale"] == {"hypergradient/log10_scale/SGD": {"steps": [0], "values": [2.0]}}


def test_cycles_of_a_run_that_was_resumed_are_joined(tmp_path: Path) -> None:
    folder = tmp_path / "logs" / "run"
    write(folder, {"lr": {0: 0.1}, "loss": {0: 1.0}}, {"cyclical_lr/record": {"kind": "cycles", "starts": [[1, 0]]}})
    write(folder, {}, {"cyclical_lr/record": {"kind": "cycles", "starts": [[2, 20], [3, 40]]}}, 40)
    write(folder, {}, {"cyclical_lr/record": {"kind": "cycles", "starts": [[3, 50], [4, 60]]}}, 60)  # within the third
    with tensorboard(tmp_path / "logs") as board:
        assert read(board, "run")["cycles"] == [[1, 0], [2, 20], [3, 40], [4, 60]]


@pytest.mark.filterwarnings("ignore:LRRangeTest is not confident")
def test_the_prefix_of_a_logger_hides_nothing(tmp_path: Path) -> None:
    for name, prefix in (("plain", ""), ("prefixed", "mine")):
        seed_everything(0, verbose=False)
        logger = TensorBoardLogger(tmp_path, "", name, prefix=prefix)
        fit(
            Classifier(), LRRangeTest(num_steps=30, verify=False), HypergradientLR(), logger=logger, log_every_n_steps=2
        )
    with tensorboard(tmp_path) as board:
        plain, prefixed = (read(board, name) for name in ("plain", "prefixed"))
        layout = board.get("data/plugin/custom_scalars/layout")
        for chart in (chart for category in layout["category"] for chart in category["chart"]):
            query = {"run": "prefixed", "tag": chart["multiline"]["tag"][0]}
            assert board.get("data/plugin/custom_scalars/scalars", **query)["tag_to_events"], chart["title"]
    assert prefixed["range_tests"] == plain["range_tests"]
    for run in (plain, prefixed):
        tags = {tag for points in run["training"].values() for tag in points}
        assert {tag for tag in tags if "/" in tag} == {"lr/SGD", "lr/loss", *ADAPTATION_TAGS}


def test_is_active_where_there_is_something_to_show(tmp_path: Path) -> None:
    write(tmp_path / "logs" / "run", {"accuracy": {0: 0.1}})
    with tensorboard(tmp_path / "logs") as board:
        board.wait_for("data/runs", bool)
        assert not board.get("data/plugins_listing")["lightning_lr"]["enabled"]
        write(tmp_path / "logs" / "other", {"lr-Adam": {0: 0.1}, "train_loss": {0: 1.0}})
        listing = board.wait_for("data/plugins_listing", lambda answer: answer["lightning_lr"]["enabled"])
        assert listing["lightning_lr"]["loading_mechanism"]["module_path"].endswith("/index.js")


def test_asks_the_provider_as_both_loaders_take_it() -> None:
    """The context by position: the provider of the fast loader needs it."""
    provider = CountingProvider()
    assert RunReader(provider, None).versions(RequestContext(), "") == {"run": "2-3-1.0"}
