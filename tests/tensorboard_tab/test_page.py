"""The tab in a browser, over logs of real runs."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.utils.tensorboard import SummaryWriter

from lightning_lr import CyclicalLR, HypergradientLR, LRRangeTest, LRTrace
from tests.helpers.browser import Page, chromium, find_chromium
from tests.helpers.lightning_classes import LearningRateMonitor, TensorBoardLogger, seed_everything
from tests.helpers.lr_finder_runs import fit, found
from tests.helpers.tensorboard_server import TensorBoard, tensorboard
from tests.helpers.tiny_models import LogsLoss

CHROMIUM = find_chromium()
pytestmark = [
    pytest.mark.filterwarnings("ignore:LRRangeTest is not confident"),
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, as .ci/run installs it"),
]

EVIL = "<img src=x onerror=alert(1)>"  # the slash of a closing tag cannot stand in the name of a folder
CURVES = "[...document.querySelectorAll('[data-chart={}] .curves path')].map(p => [p.dataset.key, +p.dataset.points])"


class Runs:
    """Logs of three runs: with two range tests, trials, cycles and adaptation; with Lightning's monitor; and evil.

    Attributes:
        folder: of the logs.
        tests: of the first run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tests = [LRRangeTest(num_steps=60), LRRangeTest(num_steps=50, at_epochs=(2,), verify=False)]
        cycles = CyclicalLR(step_size="1ep")
        self.fit("both", *self.tests, cycles, HypergradientLR(), max_epochs=4)
        self.fit("monitor", LearningRateMonitor("step"), max_epochs=1)
        self.fit(EVIL, LRTrace(), max_epochs=1)

    def fit(self, name: str, *callbacks: Any, **kwargs: Any) -> None:
        seed_everything(0, verbose=False)  # for the weights
        fit(LogsLoss(), *callbacks, logger=TensorBoardLogger(self.folder, "", name), log_every_n_steps=2, **kwargs)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("logs") / "runs")


@pytest.fixture(scope="module", params=[True, False], ids=["fast loader", "Python loader"])
def each_board(runs: Runs, request: pytest.FixtureRequest) -> Iterator[TensorBoard]:
    with tensorboard(runs.folder, load_fast=request.param) as server:
        server.wait_for("data/plugin/lightning_lr/runs", lambda answer: len(answer["runs"]) == 3)
        yield server


@pytest.fixture(scope="module")
def board(runs: Runs) -> Iterator[TensorBoard]:
    """With TensorBoard's default loader."""
    with tensorboard(runs.folder) as server:
        server.wait_for("data/plugin/lightning_lr/runs", lambda answer: len(answer["runs"]) == 3)
        yield server


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    assert CHROMIUM is not None
    with chromium(CHROMIUM, tmp_path_factory.mktemp("profile")) as page:
        page.resize(1400, 1000)
        yield page


@pytest.fixture
def page(browser: Page) -> Iterator[Page]:
    browser.messages.clear()
    yield browser
    browser.open("about:blank")
    assert browser.messages == []


@contextmanager
def watched(page: Page, folder: Path, load_fast: bool = True) -> Iterator[TensorBoard]:
    """A server that does not end while the page asks it, which would be an error of the page."""
    with tensorboard(folder, load_fast) as server:
        yield server
        page.open("about:blank")


def show(page: Page, board: TensorBoard, view: str = "range", dark: bool = False, **state: Any) -> None:
    """Open the tab, and wait until it has drawn."""
    choices = "".join(f"&{key}={json.dumps(value)}" for key, value in {"view": view, **state}.items())
    page.open(f"{board.address}/?darkMode={json.dumps(dark)}#lightning_lr{choices}")
    page.wait_in_tab("+document.body.dataset.drawn > 0 && document.querySelector('.curves path') !== null")


def place(page: Page, chart: str, x: float, y: float) -> tuple[float, float]:
    """Pixels of a value of a chart on the screen; its ticks say where values are."""
    script = f"""(() => {{
      const body = document.querySelector('[data-chart={chart}] .chart-body');
      const frame = parent.document.querySelector('iframe').getBoundingClientRect();
      const box = body.getBoundingClientRect();
      const read = (kind, at) => [...body.querySelectorAll('.' + kind)].map(t => [+t.textContent, +t.getAttribute(at)]);
      return [read('x-tick', 'x'), read('y-tick', 'y'), frame.left + box.left, frame.top + box.top];
    }})()"""
    xs, ys, left, top = page.in_tab(script)
    of_x = np.polyfit([math.log10(value) for value, _ in xs], [pixel for _, pixel in xs], 1)
    of_y = np.polyfit([value for value, _ in ys], [pixel - 4 for _, pixel in ys], 1)
    return left + float(np.polyval(of_x, math.log10(x))), top + float(np.polyval(of_y, y))


def tooltip(page: Page, chart: str) -> dict[str, str]:
    """Label and value of each row of the tooltip."""
    rows = f"[...document.querySelectorAll('[data-chart={chart}] .tooltip tr')]"
    pairs = page.wait_in_tab(f"{rows}.map(r => [...r.cells].map(c => c.textContent))", 5)
    return dict(pairs)


def test_every_point_of_both_range_tests_is_drawn(page: Page, each_board: TensorBoard, runs: Runs) -> None:
    assert each_board.get("data/plugins_listing")["lightning_lr"]["tab_name"] == "Learning rate"
    assert each_board.get("data/plugins_listing")["lightning_lr"]["enabled"]
    show(page, each_board)
    drawn = dict(page.in_tab(CURVES.format("range_test")))
    finite = [int(np.isfinite(test.result.curve.losses).sum()) for test in runs.tests if test.result]
    raw = {key.split("|")[2]: points for key, points in drawn.items() if key.startswith("raw|")}
    assert raw == {"lr_range_test": finite[0], "lr_range_test/epoch_2": finite[1]}
    rows = page.in_tab("[...document.querySelectorAll('.results [data-test]')].map(r => r.innerText)")
    assert [re.findall(r"both|epoch \d", row) for row in rows] == [["both", "epoch 0"], ["both", "epoch 2"]]


def test_the_cursor_reads_what_was_recorded(page: Page, each_board: TensorBoard, runs: Runs) -> None:
    result = runs.tests[0].result
    assert result is not None
    show(page, each_board)
    curve, at = result.curve, 30
    page.mouse("mouseMoved", *place(page, "range_test", curve.lrs[at], curve.smoothed()[at]))
    shown = tooltip(page, "range_test")
    ((_, lr),) = [point for point in each_board.scalars("both", "lr_range_test/lr") if point[0] == at]
    ((_, loss),) = [point for point in each_board.scalars("both", "lr_range_test/loss") if point[0] == at]
    assert float(shown["lr"]) == pytest.approx(lr, rel=5e-3) == pytest.approx(curve.lrs[at], rel=5e-3)
    assert float(shown["loss"]) == pytest.approx(loss, rel=5e-4) == pytest.approx(curve.losses[at], rel=5e-4)
    assert shown["step"] == str(at)


def test_marks_and_words_of_a_range_test(page: Page, board: TensorBoard, runs: Runs) -> None:
    first, second = (test.result for test in runs.tests)
    assert first is not None
    assert second is not None
    show(page, board)
    text = page.in_tab("document.querySelector('section').innerText")
    shown = [float(number) for number in re.findall(r"lr =?\s*(\S+e-?\d+)", text)]
    assert pytest.approx(first.lr, rel=5e-3) in shown
    titles = page.in_tab("[...document.querySelectorAll('.mark title')].map(t => t.textContent)")
    assert sum("trial of lr" in title for title in titles) == len(found(runs.tests[0]).candidates)
    assert any(title.startswith("minimum / 10: ") for title in titles)
    for result in (first, second):
        assert all(reason in text for reason in result.reasons)
    page.in_tab("[...document.querySelectorAll('.results button')][1].click()")
    page.wait_in_tab("document.querySelector('.results tr.chosen').innerText.includes('epoch 2')")
    assert "epoch 2" in page.in_tab("document.querySelector('.verdict').textContent")


def test_training_shows_rate_and_loss_of_the_same_steps(page: Page, board: TensorBoard) -> None:
    show(page, board, "training")
    rates = dict(page.in_tab(CURVES.format("learning_rate")))
    assert rates["both|lr/SGD"] == len(board.scalars("both", "lr/SGD")) == 40
    assert rates["monitor|lr-SGD"] == len(board.scalars("monitor", "lr-SGD"))  # of Lightning's own callback
    assert f"{EVIL}|lr/SGD" in rates
    assert dict(page.in_tab(CURVES.format("loss")))["both"] == 40
    assert dict(page.in_tab(CURVES.format("loss_against_lr")))["path|both"] == 40
    assert dict(page.in_tab(CURVES.format("alignment")))["both|hypergradient/alignment/SGD"] > 0
    bands = page.in_tab(
        "[...document.querySelectorAll('[data-chart=learning_rate] .band title')].map(t => t.textContent)"
    )
    assert bands == ["cycle 1", "cycle 2"]
    (step, loss), (_, lr) = (board.scalars(EVIL, tag)[2] for tag in ("lr/loss", "lr/SGD"))  # the first run of the list
    for chart, other in (("learning_rate", "loss"), ("loss", "learning_rate")):
        page.in_tab(f"document.querySelector('[data-chart={chart}] .chart-body').focus()")
        for _ in range(3):
            page.key("ArrowRight")
        shown = tooltip(page, chart)
        assert shown["step"] == str(step)
        assert float(shown["loss"]) == pytest.approx(loss, rel=5e-4)
        assert float(shown["lr"]) == pytest.approx(lr, rel=5e-3)
        assert page.in_tab(f"document.querySelectorAll('[data-chart={other}] .overlay line').length") == 1


def test_a_row_and_its_trial_light_up_together(page: Page, each_board: TensorBoard, runs: Runs) -> None:
    show(page, each_board, "search")
    candidates = found(runs.tests[0]).candidates
    rows = page.in_tab("[...document.querySelectorAll('.leaderboard tbody tr')].map(r => [r.dataset.lr, r.innerText])")
    assert [float(lr) for lr, _ in rows] == pytest.approx([each.lr for each in candidates])
    assert all(each.why in text and each.verdict in text for each, (_, text) in zip(candidates, rows, strict=True))
    trials = dict(page.in_tab(CURVES.format("trials")))
    assert [trials[lr] for lr, _ in rows] == [sum(map(math.isfinite, each.values)) for each in candidates]
    page.run("document.querySelector('iframe').focus()")
    page.in_tab("document.querySelectorAll('.leaderboard tbody tr')[1].focus()")
    page.wait_in_tab(f"document.querySelector('.curves path.lit')?.dataset.key === '{rows[1][0]}'", 5)


def test_filter_and_ticks_stay_in_the_address(page: Page, board: TensorBoard) -> None:
    show(page, board, "training")
    names = "[...document.querySelectorAll('.runs .name')].map(n => n.textContent)"
    assert page.in_tab(names) == [EVIL, "both", "monitor"]
    page.in_tab("document.querySelector('#run-filter').value = '^(b|mon)'")
    page.in_tab("document.querySelector('#run-filter').dispatchEvent(new Event('input'))")
    page.wait_in_tab(f'JSON.stringify({names}) === \'["both","monitor"]\'')
    page.in_tab("document.querySelectorAll('.runs input')[1].click()")
    page.wait_in_tab("document.querySelectorAll('[data-chart=loss] .curves path').length === 2")
    address = page.run("location.href")
    page.open(address)
    page.wait_in_tab("document.querySelectorAll('[data-chart=loss] .curves path').length === 2")
    assert page.in_tab(names) == ["both", "monitor"]
    assert page.run("location.href") == address
    show(page, board, filter="(")  # no regular expression
    assert "no regular expression" in page.in_tab("document.querySelector('aside').innerText")
    assert len(page.in_tab(names)) == 3


def test_zoom_by_mouse_and_escape(page: Page, board: TensorBoard) -> None:
    show(page, board)
    ticks = "[...document.querySelectorAll('[data-chart=range_test] .x-tick')].map(t => +t.textContent)"
    whole = page.in_tab(ticks)
    start, end = place(page, "range_test", 1e-5, 0.5), place(page, "range_test", 1e-2, 0.5)
    page.mouse("mouseMoved", *start)
    page.mouse("mousePressed", *start, buttons=1)
    page.mouse("mouseMoved", *end, buttons=1)
    page.mouse("mouseReleased", *end)
    page.wait_in_tab(f"Math.max(...{ticks}) <= 1.1e-2")
    assert "x=%5B" in page.run("location.hash")
    page.in_tab("document.querySelector('[data-chart=range_test] .chart-body').focus()")
    page.key("Escape")
    page.wait_in_tab(f"Math.max(...{ticks}) > 0.5", 5)
    assert page.in_tab(ticks) == whole


def test_dark_mode(page: Page, board: TensorBoard) -> None:
    colours = (
        "[getComputedStyle(document.body).backgroundColor, document.querySelector('.x-tick').getAttribute('fill')]"
    )
    show(page, board)
    light = page.in_tab(colours)
    show(page, board, dark=True)
    page.wait_in_tab("document.body.classList.contains('dark')")
    dark = page.in_tab(colours)
    assert light == ["rgb(255, 255, 255)", "#616161"]
    assert dark == ["rgb(48, 48, 48)", "#b0b0b0"]


def test_copies_and_saves(page: Page, board: TensorBoard) -> None:
    page.allow(board.address, "clipboardReadWrite", "clipboardSanitizedWrite")
    show(page, board, "training")
    page.run("document.querySelector('iframe').focus()")
    page.in_tab("document.querySelector('[data-chart=learning_rate] figcaption button').click()")
    page.wait_in_tab("document.querySelector('[data-chart=learning_rate] .done').textContent === 'Copied.'")
    rows = page.in_tab("navigator.clipboard.readText()").splitlines()
    assert rows[0] == "name,step,learning rate"
    of_both = [row.split(",")[1:] for row in rows if row.startswith("both · lr/SGD,")]
    assert [(int(step), float(lr)) for step, lr in of_both] == board.scalars("both", "lr/SGD")
    saved = page.in_tab("""(async () => {
      const { svgOf, pngOf } = await import('./export.js');
      const { Chart } = await import('./chart.js');
      const chart = new Chart({ name: 'one', xLabel: 'x', yLabel: 'y' });
      chart.draw({ series: [{ key: 'k', name: 'n', color: '#123456', x: [1, 2], y: [3, 4], rows: () => [] }],
                   xDomain: [1, 2], yDomain: [3, 4] });
      const png = new Uint8Array(await (await pngOf(chart)).arrayBuffer());
      return [svgOf(chart), [...png.slice(1, 4)].map(c => String.fromCharCode(c)).join(''), png.length];
    })()""")
    assert saved[0].startswith("<svg")
    assert "#123456" in saved[0]
    assert saved[1] == "PNG"
    assert saved[2] > 1000


@pytest.mark.parametrize("width", [1000, 1280, 1900])
@pytest.mark.parametrize("view", ["range", "training", "search"])
def test_nothing_is_cut_off(page: Page, board: TensorBoard, view: str, width: int) -> None:
    page.resize(width, 900)
    show(page, board, view)
    page.wait_in_tab("document.documentElement.scrollWidth <= innerWidth")
    edges = "[...document.querySelectorAll('.chart, table')].map(e => e.getBoundingClientRect().right)"
    assert max(page.in_tab(edges)) <= width
    between = """[...document.querySelectorAll('.chart')].map(chart =>
      chart.querySelector('figcaption button').getBoundingClientRect().left
      - chart.querySelector('.x-label').getBoundingClientRect().right)"""
    assert min(page.in_tab(between)) > 0  # from the label of the x axis to the buttons
    page.resize(1400, 1000)


@pytest.mark.parametrize("load_fast", [True, False])
def test_a_run_appears_and_grows(page: Page, tmp_path: Path, load_fast: bool) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    with watched(page, folder, load_fast) as board:
        page.open(f"{board.address}/#lightning_lr")
        page.wait_in_tab("document.body.innerText.includes('No run in this folder has logged a learning rate')")
        with SummaryWriter(folder / "live") as writer:
            for last in (10, 25):
                for step in range(last - 10 if last == 10 else 10, last):
                    writer.add_scalar("lr-Adam", 0.1 / (step + 1), step)
                    writer.add_scalar("train_loss", 2.0 / (step + 1), step)
                writer.flush()
                page.wait_in_tab(
                    f"document.querySelector('[data-chart=loss] [data-key=live]')?.dataset.points === '{last}'"
                )


def test_opens_with_the_first_view_that_has_something_to_show(page: Page, board: TensorBoard, tmp_path: Path) -> None:
    chosen = "document.querySelector('[role=tab][aria-selected=true]').textContent"
    page.open(f"{board.address}/#lightning_lr")
    assert page.wait_in_tab(f"+document.body.dataset.drawn > 0 && {chosen}") == "Range test"
    with SummaryWriter(tmp_path / "logs") as writer:
        for step in range(9):
            writer.add_scalar("lr/SGD", 0.1, step)
            writer.add_scalar("train_loss", 1.0, step)
    with watched(page, tmp_path / "logs") as other:
        page.open(f"{other.address}/#lightning_lr")
        page.wait_in_tab("document.querySelector('[data-chart=learning_rate] .curves path') !== null")
        assert page.in_tab(chosen) == "Training"


def test_a_corrupt_event_file_leaves_the_other_runs(page: Page, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    for name in ("good", "bad"):
        with SummaryWriter(folder / name) as writer:
            for step in range(20):
                writer.add_scalar("lr", 0.1, step)
                writer.add_scalar("loss", 1.0, step)
    (file,) = (folder / "bad").iterdir()
    file.write_bytes(file.read_bytes()[:200] + os.urandom(400))
    with watched(page, folder) as board:
        show(page, board, "training")
        assert dict(page.in_tab(CURVES.format("loss")))["good"] == 20
        assert page.in_tab("document.querySelector('.message').hidden")


def test_a_failure_of_the_server_is_a_message_in_the_tab(page: Page, board: TensorBoard) -> None:
    show(page, board)
    page.in_tab('window.fetch = async () => new Response(\'{"error": "ValueError: broken"}\', { status: 500 })')
    page.wait_in_tab("document.querySelector('.message').textContent.includes('ValueError: broken')")
    assert page.in_tab("document.querySelectorAll('[data-chart=range_test] .curves path').length") == 4
