"""Measures the costs again and prints which ratios got worse than the spread. Ends with 1 if one did.

    python -m benchmarks.check [--measured FOLDER] [--factor 4]

A ratio of this package is worse if all of its spread now is above all of the kept spread. A machine that is a little
slower moves some ratios by more than that, those of rivals too. So measure again before you believe a line.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.argument_types import positive_factor
from benchmarks.costs.__main__ import measure
from benchmarks.markdown import is_ours
from benchmarks.raw_results import FOLDER, load

Row = dict[str, Any]


def worse(kept: list[Row], measured: list[Row]) -> list[str]:
    """A line for each ratio that got worse, and for each that is missing."""
    now = {_key(row): row for row in measured}
    lines = []
    for old in kept:
        name = f"{old['what']} / {old['against']} ({old['where']})"
        new = now.get(_key(old))
        if new is None:
            lines.append(f"{name}: not measured any more")
        elif (old["kind"] == "import" or is_ours(old["what"])) and new["low"] > old["high"]:
            lines.append(f"{name}: {_text(old)} before, {_text(new)} now")
    return lines


def _key(row: Row) -> tuple[str, ...]:
    return row["kind"], row["where"], row["what"], row["against"]


def _text(row: Row) -> str:
    return f"{row['ratio']:.3f} ({row['low']:.3f} to {row['high']:.3f})"


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measured", type=Path, help="folder of a costs.json to compare, instead of measuring")
    parser.add_argument("--factor", type=positive_factor, help="of the rounds; by default that of the kept ratios")
    arguments = parser.parse_args(words)
    kept = load("costs", FOLDER)
    with tempfile.TemporaryDirectory() as folder:
        if arguments.measured is None:
            measure(kept["factor"] if arguments.factor is None else arguments.factor, Path(folder))
        lines = worse(kept["rows"], load("costs", arguments.measured or Path(folder))["rows"])
    print("\n".join(lines) if lines else f"None of {len(kept['rows'])} ratios got worse than the spread.")
    sys.exit(1 if lines else 0)


if __name__ == "__main__":
    main()
