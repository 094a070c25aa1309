"""Which cells of the support matrix are run: all, or a part that has every setting with every kind of callback."""

from __future__ import annotations

from itertools import product

from tests.contracts.cells import Cell
from tests.contracts.loops import LOOPS
from tests.contracts.rows import ROWS
from tests.contracts.settings import LAUNCHED, PRECISIONS, SINGLE, STRATEGIES

DEFAULT = Cell("", SINGLE, "32-true", "plain")
_RANKED = [name for name in STRATEGIES if name != SINGLE and name not in LAUNCHED]
_EVERY_PRECISION = "ddp", _RANKED[-1]
_ROWS = list(ROWS)
# Rows whose cells take longer than the others, since they train in rehearsals.
_FINDERS = [name for name in ROWS if ROWS[name].promise == "finds" or name.startswith("LRRangeTest")]
_OTHERS = [name for name in ROWS if name not in _FINDERS]


def all_cells() -> list[Cell]:
    """Every callback in every loop and precision, and with every strategy.

    With two processes every precision is run with DDP and FSDP2, and of each loop one callback or two, other ones in
    the next loop.
    """
    cells = [Cell(row, SINGLE, *names) for row, *names in product(ROWS, PRECISIONS, LOOPS)]
    cells += [Cell(row, strategy, "32-true", "plain") for row, strategy in product(ROWS, [*_RANKED, *LAUNCHED])]
    cells += [Cell(*names, "plain") for names in product(ROWS, _EVERY_PRECISION, PRECISIONS)]
    for (i, strategy), (j, loop) in product(enumerate(_RANKED), enumerate(LOOPS)):
        rows = (0, 5) if strategy in _EVERY_PRECISION else (0,)
        cells += [Cell(_ROWS[(i + j + k) % len(_ROWS)], strategy, "32-true", loop) for k in rows]
    # Each rank ends the line search of LBFGS after other steps than the others, without a callback too.
    return [cell for cell in dict.fromkeys(cells) if cell.strategy == SINGLE or cell.loop != "optimizer LBFGS"]


def covering_cells() -> list[Cell]:
    """For the test suite: each loop with a callback that rehearses and two others, in three precisions.

    They rotate, so that each callback meets each precision. With two processes each callback is run once.
    """
    precisions = list(PRECISIONS)
    cells = []
    for i, loop in enumerate(LOOPS):
        rows = [_FINDERS[i % len(_FINDERS)], _OTHERS[i % len(_OTHERS)], _OTHERS[(i + 3) % len(_OTHERS)]]
        # a factor without a divisor in common with the numbers of rows, so that all pairs of them occur
        cells += [Cell(row, SINGLE, precisions[(i + 3 * k) % len(precisions)], loop) for k, row in enumerate(rows)]
    cells += [Cell(row, "ddp", "32-true", "plain") for row in ROWS]
    cells += [Cell(row, _RANKED[-1], "32-true", "plain") for row in _FINDERS[:2] + _OTHERS[:1]]
    return cells


def parts(cell: Cell) -> list[Cell]:
    """The cells that differ from the default in one setting only, where the cell does."""
    default = DEFAULT._replace(row=cell.row)
    names = [name for name in ("strategy", "precision", "loop") if getattr(cell, name) != getattr(default, name)]
    return [default._replace(**{name: getattr(cell, name)}) for name in names] or [default]
