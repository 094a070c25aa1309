"""Measures all ratios and writes them to ``costs.json``.

    python -m benchmarks.costs [--factor 1] [--output FOLDER]

Every ratio is of times that were taken in turn in one process, so that the load of the machine affects both sides. The
spread is that of four parts of the rounds. What schedules and traces add to a short step also depends on where the
memory of the process lies: there, each of the four parts has a process of its own. The short form takes about five
minutes on one core, the full one an hour.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from benchmarks.argument_types import positive_factor
from benchmarks.costs.finders import ratios_of_finders
from benchmarks.costs.memory import ratio_of_imports, ratios_of_memory
from benchmarks.costs.models import LARGE, LARGE_MLP, MANY_GROUPS, MIDDLE, SMALL, SMALL_CNN, TINY_CNN
from benchmarks.costs.ratio import Ratio
from benchmarks.costs.steps import HEAVY_CASES, LARGE_CASES, TimedSteps, ratios_of_light_steps, ratios_of_steps
from benchmarks.raw_results import FOLDER, save
from benchmarks.timing import prepare_process

_STEPS = 100  # of a run: two intervals of logging
FULL = 8  # factor of the rounds of the full form


def all_ratios(factor: float) -> Iterator[list[Ratio]]:
    """All ratios, in groups that are measured together."""

    def rounds(of_short_form: float) -> int:
        return max(1, round(factor * of_short_form))

    yield ratios_of_memory()
    yield [ratio_of_imports(rounds(2))]
    yield ratios_of_finders(TINY_CNN, rounds(4))
    yield from ratios_of_light_steps(
        [
            # Longer runs, since the points that loggers get once a second, or at the end, would weigh too much.
            TimedSteps(SMALL, 1, rounds(2), 4 * _STEPS),
            TimedSteps(SMALL, 50, rounds(6), 4 * _STEPS),
            TimedSteps(MANY_GROUPS, 1, rounds(1), _STEPS),
            TimedSteps(MANY_GROUPS, 50, rounds(4), _STEPS),
        ]
    )
    for log_every in (1, 50):
        yield ratios_of_steps(TimedSteps(TINY_CNN, log_every, rounds(8), _STEPS, HEAVY_CASES))
        yield ratios_of_steps(TimedSteps(SMALL, log_every, rounds(12), _STEPS, HEAVY_CASES))
        yield ratios_of_steps(TimedSteps(MANY_GROUPS, log_every, rounds(4), _STEPS, HEAVY_CASES))
    yield ratios_of_steps(TimedSteps(SMALL_CNN, 50, rounds(2.5), 20, LARGE_CASES))
    yield ratios_of_steps(TimedSteps(MIDDLE, 50, rounds(4), _STEPS))
    yield ratios_of_steps(TimedSteps(LARGE, 50, rounds(2), 5, LARGE_CASES))
    if factor >= FULL:
        yield ratios_of_finders(SMALL_CNN, 4)
        yield ratios_of_finders(LARGE_MLP, 4)


def measure(factor: float, folder: Path) -> None:
    """Measure, print and write all ratios."""
    prepare_process()
    ratios: list[Ratio] = []
    for group in all_ratios(factor):
        ratios += group
        save("costs", [each._asdict() for each in ratios], folder, factor=factor)
        for each in group:
            print(f"{each.where}: {each.what} / {each.against}: {each.ratio:.3f} ({each.low:.3f} to {each.high:.3f})")
        print(flush=True)


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--factor", type=positive_factor, default=1, help=f"of the rounds; {FULL} is the full form")
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder of costs.json")
    arguments = parser.parse_args(words)
    measure(arguments.factor, arguments.output)


if __name__ == "__main__":
    main()
