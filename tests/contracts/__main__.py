"""Run the whole support matrix and all faults, and write ``docs/support.md``: ``python -m tests.contracts``."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from importlib.metadata import version

from tests.contracts import support_page
from tests.contracts.cells import Cell, run_cells
from tests.contracts.covering import all_cells
from tests.faults.catalogue import report, strike_everywhere
from tests.helpers.worker_pool import run_tasks

_CELLS_AT_ONCE = 40  # so that all processors are busy until the end


def chunks(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Cells of the same strategy and precision, loop after loop, so that few runs without a callback are repeated."""
    groups = itertools.groupby(sorted(cells, key=lambda cell: cell[1:]), key=lambda cell: cell[1:3])
    lists = [list(group) for _, group in groups]
    return [group[i : i + _CELLS_AT_ONCE] for group in lists for i in range(0, len(group), _CELLS_AT_ONCE)]


def main() -> None:
    cells = all_cells()
    found = {cell: outcome for part in run_tasks(run_cells, chunks(cells)) for cell, outcome in part.items()}
    versions = {"torch": version("torch").partition("+")[0], "lightning": version("lightning")}
    page = support_page.write({cell: found[cell] for cell in cells}, report(strike_everywhere()), versions)
    support_page.PAGE.write_text(page)


if __name__ == "__main__":
    main()
