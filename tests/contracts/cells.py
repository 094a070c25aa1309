"""One cell of the support matrix: it trains with a callback and without it, and says what became of it."""

from __future__ import annotations

import itertools
import os
import traceback
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import lightning_lr
from tests.contracts.loops import LOOPS
from tests.contracts.promises import RANKS_DIFFER, broken_promises
from tests.contracts.rows import ROWS
from tests.contracts.settings import LAUNCHED, SINGLE
from tests.contracts.trained import Trained, quiet, train
from tests.helpers.forked_ranks import run_ranks
from tests.helpers.lightning_classes import MisconfigurationException


class Cell(NamedTuple):
    """Names of `ROWS`, `STRATEGIES`, `PRECISIONS` and `LOOPS`."""

    row: str
    strategy: str
    precision: str
    loop: str


class Outcome(NamedTuple):
    """What became of a cell, and why if it does not work."""

    kind: Literal["works", "refused", "not tried", "fails"]
    why: str = ""


def run_cells(cells: Iterable[Cell], timeout: float = 600.0) -> dict[Cell, Outcome]:
    """Run cells, those of two processes in one pair of processes for each strategy."""
    outcomes: dict[Cell, Outcome] = {}
    for strategy, group in itertools.groupby(sorted(cells, key=lambda cell: cell.strategy), lambda cell: cell.strategy):
        here = list(group)
        if strategy == SINGLE or strategy in LAUNCHED:
            outcomes |= {cell: _run_cell(cell)[0] for cell in here}
        else:
            outcomes |= _run_on_ranks(here, timeout)
    return outcomes


def _run_on_ranks(cells: Sequence[Cell], timeout: float) -> dict[Cell, Outcome]:
    """Run cells in two processes. Each says what it sees, and the digests of what it has trained."""
    ranks = run_ranks(lambda: [_run_cell(cell) for cell in cells], timeout=timeout)
    lost = next((f"a process ended with {rank.error or rank.exit_code}" for rank in ranks if rank.value is None), "")
    if lost and len(cells) > 1:  # find out which of them it was
        return {cell: outcome for each in cells for cell, outcome in _run_on_ranks([each], timeout).items()}
    if lost:
        return {cells[0]: Outcome("fails", lost)}
    outcomes: dict[Cell, Outcome] = {}
    for cell, (first, digests), (second, others) in zip(cells, *(rank.value for rank in ranks), strict=True):
        seen = first if first.kind != "works" else second
        outcomes[cell] = Outcome("fails", RANKS_DIFFER) if seen.kind == "works" and digests != others else seen
    return outcomes


@cache
def _without(strategy: str, precision: str, loop: str) -> Trained:
    return train(strategy, precision, loop)


def _run_cell(cell: Cell) -> tuple[Outcome, Sequence[str]]:
    """Run a cell in this process, or on this rank.

    Returns:
        What became of it, and what must be the same on all ranks.
    """
    if LOOPS[cell.loop].needs:
        return Outcome("not tried", LOOPS[cell.loop].needs), ()
    with quiet():
        plain = _without(*cell[1:])
        if plain.error is not None:
            return Outcome("not tried", f"without a callback too: {_sentence(plain.error)}"), ()
        trained = train(*cell[1:], ROWS[cell.row].make())
        if trained.error is not None:
            return Outcome("refused" if _is_refusal(trained.error) else "fails", _sentence(trained.error)), ()
        why = next(broken_promises(ROWS[cell.row].promise, *cell[1:], plain, trained), "")
    return Outcome("fails", why) if why else Outcome("works"), trained.same_on_ranks


def _is_refusal(error: Exception) -> bool:
    """Whether it is a sentence of this package."""
    frames = traceback.extract_tb(error.__traceback__)
    is_ours = bool(frames) and Path(frames[-1].filename).is_relative_to(Path(lightning_lr.__file__).parent)
    return is_ours and isinstance(error, (ValueError, MisconfigurationException)) and "\n" not in str(error)


def _sentence(error: Exception) -> str:
    """The first line of an error, with its kind if it is not ours."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0].replace(os.getcwd(), "")
    return line if _is_refusal(error) else f"{type(error).__name__}: {line}"
