"""``docs/support.md``, written from the outcomes of the support matrix, and read again."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.contracts.cells import Cell, Outcome
from tests.contracts.covering import DEFAULT, parts
from tests.contracts.loops import LOOPS
from tests.contracts.rows import ROWS
from tests.contracts.settings import NOT_TRIED, PRECISIONS, STRATEGIES

PAGE = Path(__file__).parents[2] / "docs" / "support.md"
_TABLES: dict[str, tuple[str, Mapping[str, object]]] = {
    "strategy": ("Strategies", STRATEGIES),
    "precision": ("Precisions", PRECISIONS),
    "loop": ("Loops", LOOPS),
}
_MARKS = {"works": "yes", "refused": "refused", "not tried": "not tried", "fails": "**fails**"}

_HEAD = """# What is supported

`make matrix` wrote this page: it trains each callback in each setting below, on a CPU, with PyTorch {torch} and
Lightning {lightning}. A test compares the page with a part of the runs.

**yes** says that the run ended, that the Trainer could fit again, that no file was left, and that the weights were, bit
for bit, those of a run without the callback that used the same learning rates. `LRTrace` and callbacks with
`apply=False` or `adapt=False` used the learning rates of the run without them. Schedules used those of `preview`.
Finders started with the one they found. With two processes all of this held on both, and they agreed.

**refused** is an error in one sentence at the start of the run, or before it trains. **not tried** has its reason.
"""


def write(outcomes: Mapping[Cell, Outcome], faults: Iterable[str], versions: Mapping[str, str]) -> str:
    """The page.

    Args:
        outcomes: of all cells.
        faults: the lines of the section about faults.
        versions: of the packages.
    """
    notes: dict[str, int] = {}

    def mark(outcome: Outcome) -> str:
        number = f" [{notes.setdefault(outcome.why, len(notes) + 1)}]" if outcome.why else ""
        return _MARKS[outcome.kind] + number

    lines = [_HEAD.format(**versions), *_figures(outcomes)]
    for axis, (title, settings) in _TABLES.items():
        lines += ["", f"## {title}", "", _line("", [f"`{row}`" for row in ROWS]), _line("---", ["---"] * len(ROWS))]
        for setting in settings:
            lines += [_line(setting, [mark(outcomes[DEFAULT._replace(row=row, **{axis: setting})]) for row in ROWS])]
        if axis == "strategy":
            lines += [_line(name, [mark(Outcome("not tried", why))] * len(ROWS)) for name, why in NOT_TRIED.items()]
    lines += ["", "## Combinations", "", "All others are as the tables say of their parts. These are not:", ""]
    groups = defaultdict(list)
    for cell, outcome in outcomes.items():
        if outcome.kind not in expected({part: outcomes[part].kind for part in parts(cell)}):
            groups[cell[1:], outcome].append(f"`{cell.row}`")
    for (names, outcome), rows in groups.items():
        all_rows = len(rows) == len(ROWS)
        lines += [f"- {' × '.join(names)}: {mark(outcome)}: {'all' if all_rows else ', '.join(rows)}"]
    lines += ["", "## Faults", "", *faults, "", "## Notes", "", *(f"{number}. {why}" for why, number in notes.items())]
    return "\n".join(lines) + "\n"


def read(page: str) -> dict[Cell, Outcome]:
    """The outcomes that the page names: of all cells of its tables, and of the combinations that it lists."""
    notes = dict(re.findall(r"^(\d+)\. (.*)$", page.partition("\n## Notes\n")[2], re.M))
    kinds: dict[str, Any] = {mark: kind for kind, mark in _MARKS.items()}

    def outcome(mark: str) -> Outcome:
        kind, _, number = mark.strip().partition(" [")
        return Outcome(kinds[kind], notes[number.rstrip("]")] if number else "")

    found = {}
    for axis, (title, settings) in _TABLES.items():
        section = page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
        for line in section.splitlines():
            setting, *marks = [part.strip() for part in line.strip("|").split("|")]
            if setting in settings:
                for row, mark in zip(ROWS, marks, strict=True):
                    found[DEFAULT._replace(row=row, **{axis: setting})] = outcome(mark)
    for line in re.findall(r"^- (.* × .*)$", page, re.M):
        names, mark, rows = line.split(": ")
        for row in ROWS if rows == "all" else re.findall("`([^`]*)`", rows):
            found[Cell(row, *names.split(" × "))] = outcome(mark)
    return found


def expected(kinds: Mapping[Cell, str]) -> set[str]:
    """The kinds of outcome of a combination that need no mention, from the kinds of its parts."""
    return set(kinds.values()) - {"works"} or {"works"}


def _line(first: str, others: Iterable[str]) -> str:
    return f"| {' | '.join([first, *others])} |"


def _figures(outcomes: Mapping[Cell, Outcome]) -> list[str]:
    counts = Counter(outcome.kind for outcome in outcomes.values())
    return [
        f"{len(outcomes)} configurations: {counts['works']} work, {counts['refused']} are refused,"
        f" {counts['not tried']} were not tried, {counts['fails']} fail."
    ]
