"""A part of the support matrix: what its cells do is what ``docs/support.md`` says. ``make matrix`` runs all of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import lightning_lr
from tests.contracts.cells import Cell, Outcome, run_cells
from tests.contracts.covering import all_cells, covering_cells, parts
from tests.contracts.loops import LOOPS
from tests.contracts.rows import ROWS
from tests.contracts.settings import PRECISIONS, SINGLE, STRATEGIES
from tests.contracts.support_page import PAGE, expected, read
from tests.helpers.lightning_classes import Callback

SAID = read(PAGE.read_text())
CELLS = covering_cells()
IN_TWO_PROCESSES = sorted({cell.strategy for cell in CELLS} - {SINGLE})


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # files that are left are seen there


def assert_as_the_page_says(outcomes: Mapping[Cell, Outcome]) -> None:
    for cell, outcome in outcomes.items():
        if outcome.kind == "not tried":  # another version of Lightning may lack or refuse a setting
            continue
        if cell in SAID:
            assert outcome == SAID[cell], cell
        else:
            assert outcome.kind in expected({part: SAID[part].kind for part in parts(cell)}), (cell, outcome)


@pytest.mark.parametrize("loop", LOOPS)
def test_loop(loop: str) -> None:
    assert_as_the_page_says(run_cells(cell for cell in CELLS if cell.loop == loop and cell.strategy == SINGLE))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a process that has used CUDA cannot fork")
@pytest.mark.parametrize("strategy", IN_TWO_PROCESSES)
def test_two_processes(strategy: str) -> None:
    assert_as_the_page_says(run_cells([cell for cell in CELLS if cell.strategy == strategy], timeout=300))


def test_nothing_fails() -> None:
    assert [(cell, outcome.why) for cell, outcome in SAID.items() if outcome.kind == "fails"] == []


def test_the_page_has_every_setting() -> None:
    for axis, settings in (("strategy", STRATEGIES), ("precision", PRECISIONS), ("loop", LOOPS)):
        assert {(cell.row, getattr(cell, axis)) for cell in SAID} >= {(row, name) for row in ROWS for name in settings}


def test_the_matrix_has_every_callback_and_optimizer() -> None:
    public = {name: getattr(lightning_lr, name) for name in lightning_lr.__all__}
    names = {name for name, value in public.items() if isinstance(value, type) and issubclass(value, Callback)}
    assert names <= set(ROWS)
    optimizers = {name for name in torch.optim.__all__ if isinstance(getattr(torch.optim, name), type)}
    assert {f"optimizer {name}" for name in optimizers - {"Optimizer"}} <= set(LOOPS)
    assert set(CELLS) <= set(all_cells())
    assert {(cell.row, cell.precision) for cell in CELLS} >= {(row, name) for row in ROWS for name in PRECISIONS}


def test_a_callback_that_changes_the_weights_or_leaves_a_file_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The matrix itself: it would see what it looks for."""
    cell = Cell("LRTrace", SINGLE, "32-true", "plain")
    changes: dict[str, Callable[[Any], object]] = {
        "weights": lambda module: module.head.bias.data.add_(1e-3),
        "learning rates": lambda module: module.optimizers().param_groups[0].update(lr=0.02),
        "files left": lambda _: Path("left.txt").write_text("left"),
    }
    for name, change in changes.items():

        class Disturbs(Callback):
            def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any, change: Any = change) -> None:
                change(pl_module)

        monkeypatch.setitem(ROWS, cell.row, ROWS[cell.row]._replace(make=lambda: [Disturbs()]))
        outcome = run_cells([cell])[cell]
        assert outcome.kind == "fails"
        assert name in outcome.why
