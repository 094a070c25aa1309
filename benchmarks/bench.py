"""All benchmarks of ``docs/benchmarks.md``, and the page itself.

    python -m benchmarks.bench [--full] [--resume]

The short form has one seed. The full one has three, workloads of four times the length and long runs of two lengths.
"""

from __future__ import annotations

import argparse

from benchmarks import long_runs, page, score, targets
from benchmarks.argument_types import positive_count
from benchmarks.costs import __main__ as costs
from benchmarks.processes import processes
from benchmarks.raw_results import load
from benchmarks.workloads import WORKLOADS

_LENGTHS = (1, 4)  # of the full form
_SEEDS = (0, 1, 2)
_LONG_RUNS = (20_000, 5000)  # steps


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="more seeds and lengths")
    parser.add_argument("--resume", action="store_true", help="keep the runs that are in the files already")
    parser.add_argument("--workers", type=positive_count, default=2, help="processes that train side by side")
    arguments = parser.parse_args(words)
    count = None if arguments.full else 1
    lengths, seeds, long_lengths = _LENGTHS[:count], _SEEDS[:count], _LONG_RUNS[:count]
    for length in lengths:
        known = {row["workload"] for row in load("targets")["rows"] if row["length"] == length}
        if wanted := [name for name in WORKLOADS if name not in known]:
            targets.main(["--length", str(length), "--workers", str(arguments.workers), "--workloads", *wanted])
    costs.main(["--factor", str(costs.FULL if arguments.full else 1)])  # alone, so that no other work disturbs it
    anew = not arguments.resume
    # One pool for both, the long runs first: the score fills the processes while the last of them ends.
    with processes(arguments.workers) as pool:
        started = long_runs.start(long_runs.keys_of(long_lengths, seeds), pool, anew)
        score.measure(score.keys_of(lengths, seeds), pool, anew)
        for each in started:
            each.result()
    page.main([])


if __name__ == "__main__":
    main()
