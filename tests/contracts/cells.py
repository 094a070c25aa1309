"""One cell of the support matrix: it trains with a callback and without it, and says what became of it."""

from __future__ import annotations

import itertools
import os
import traceback
from collections.abc import Iterable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Literal, NamedTuple

import lightning_lr
from tests.contracts.loops import LOOPS
from tests.contracts.promises import RANKS_DIFFER, broken_promises
from tests.contracts.rows import ROWS
from tests.contracts.settings import LAUNCHED, SINGLE, TWINS
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
    """Run cells in two processes. After one that does not work the others get new processes."""
    outcomes: dict[Cell, Outcome] = {}
    left = list(cells)
    while left:
        ranks = run_ranks(partial(_run_while_they_work, left), timeout=timeout)
        lost = next((rank.error or f"exit code {rank.exit_code}" for rank in ranks if rank.value is None), "")
        if lost and len(left) > 1:  # find out which of them it was
            half = len(left) // 2
            return outcomes | _run_on_ranks(left[:half], timeout) | _run_on_ranks(left[half:], timeout)
        if lost:
            return outcomes | {left[0]: Outcome("fails", f"a process ended: {lost.strip().splitlines()[-1]}")}
        # a rank may be ahead of the other, which has ended
        for cell, (first, digests), (second, others) in zip(left, *(rank.value for rank in ranks), strict=False):
            outcomes[cell] = first if first.kind != "works" else second
            if outcomes[cell].kind == "works" and digests != others:
                plain_differs = digests[0] != others[0]
                why = f"without a callback too, {RANKS_DIFFER}" if plain_differs else RANKS_DIFFER
                outcomes[cell] = Outcome("not tried" if plain_differs else "fails", why)
        left = left[min(len(rank.value) for rank in ranks) :]
    return outcomes


def _run_while_they_work(cells: Sequence[Cell]) -> list[tuple[Outcome, Sequence[str]]]:
    """On one rank: what `_run_cell` returns, until a cell does not work. An error may leave a message on its way."""
    found: list[tuple[Outcome, Sequence[str]]] = []
    for cell in cells:
        found.append(_run_cell(cell))
        if found[-1][0].kind != "works":
            break
    return found


@cache
def _without(strategy: str, precision: str, loop: str) -> Trained:
    return train(strategy, precision, loop)


def _run_cell(cell: Cell) -> tuple[Outcome, Sequence[str]]:
    """Run a cell in this process, or on this rank.

    Returns:
        What became of it, and what must be the same on all ranks: of the run without a callback, and of that with it.
    """
    if LOOPS[cell.loop].needs:
        return Outcome("not tried", LOOPS[cell.loop].needs), ()
    with quiet():
        # the processes that ddp_spawn starts import everything anew, and train as those of ddp_fork do
        others = cell._replace(strategy=TWINS.get(cell.strategy, cell.strategy))[1:]
        plain = _without(*others)
        if plain.error is not None:
            return Outcome("not tried", f"without a callback too: {_sentence(plain.error)}"), ()
        if not all(weight.isfinite().all() for weight in plain.weights):
            return Outcome("not tried", "without a callback too, the weights become NaN"), ()
        trained = train(*cell[1:], ROWS[cell.row].make())
        if trained.error is not None:
            return Outcome("refused" if _is_refusal(trained.error) else "fails", _sentence(trained.error)), ()
        why = next(broken_promises(ROWS[cell.row].promise, *others, plain, trained), "")
    return Outcome("fails", why) if why else Outcome("works"), [*plain.same_on_ranks, *trained.same_on_ranks]


def _is_refusal(error: Exception) -> bool:
    """Whether it is a sentence of this package."""
    frames = traceback.extract_tb(error.__traceback__)
    is_ours = bool(frames) and Path(frames[-1].filename).is_relative_to(Path(lightning_lr.__file__).parent)
    return is_ours and isinstance(error, (ValueError, MisconfigurationException)) and "\n" not in str(error)


def _sentence(error: Exception) -> str:
    """The first line of an error, with its kind if it is not ours."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0].replace(os.getcwd(), "")
    return line if _is_refusal(error) else f"{type(error).__name__}: {line}"
