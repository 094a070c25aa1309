"""The pictures of the tab in TensorBoard, taken with chromium."""

from __future__ import annotations

import json
from pathlib import Path

from tests.helpers.browser import Page, chromium, find_chromium
from tests.helpers.tensorboard_server import TensorBoard, tensorboard

WIDTH, HEIGHT = 1280, 960  # pixels of the tab


def take_pictures(logs: Path, profile: Path, docs: Path) -> None:
    """The three views of the tab.

    Args:
        logs: a folder of runs, one folder each: range tests, a search and an adaptation.
        profile: a folder for chromium, which need not exist.
        docs: the folder for the pictures.
    """
    program = find_chromium()
    if program is None:
        raise SystemExit("The pictures of the tab need chromium.")
    with tensorboard(logs) as board, chromium(program, profile) as page:
        board.wait_for("data/plugin/lightning_lr/runs", lambda answer: len(answer["runs"]) == len([*logs.iterdir()]))
        page.resize(WIDTH, HEIGHT)
        _take(page, board, "range", docs / "tab_range_test.png")
        _take(page, board, "search", docs / "tab_search.png")
        _take(page, board, "training", docs / "tab_training.png", dark=True)
        page.open("about:blank")


def _take(page: Page, board: TensorBoard, view: str, picture: Path, dark: bool = False) -> None:
    page.open(f"{board.address}/?darkMode={json.dumps(dark)}#lightning_lr&view=%22{view}%22")
    page.wait_in_tab("+document.body.dataset.drawn > 0 && document.querySelector('.curves path') !== null")
    if view == "training":
        page.mouse("mouseMoved", 0.5 * WIDTH, 0.6 * HEIGHT)
    page.screenshot(picture)
