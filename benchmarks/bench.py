"""All benchmarks of ``docs/benchmarks.md``, and the page itself.

    python -m benchmarks.bench [--full] [--resume]

The short form has one seed. The full one has three, workloads of four times the length and long runs of two lengths.
"""

from __future__ import annotations

import argparse

from benchmarks import long_runs, page, score, targets
from benchmarks.argument_types import positive_count
from benchmarks.costs import __main__ as costs
from benchmarks.raw_results import load
from benchmarks.workloads import WORKLOADS

_LENGTHS = ("1", "4")  # of the full form
_SEEDS = ("0", "1", "2")
_LONG_RUNS = ("20000", "5000")  # steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="more seeds and lengths")
    parser.add_argument("--resume", action="store_true", help="keep the runs that are in the files already")
    parser.add_argument("--workers", type=positive_count, default=2, help="processes of the score and of the long runs")
    arguments = parser.parse_args()
    count = None if arguments.full else 1
    workers = ["--workers", str(arguments.workers)]
    anew = [] if arguments.resume else ["--anew"]
    for length in _LENGTHS[:count]:
        known = {row["workload"] for row in load("targets")["rows"] if row["length"] == int(length)}
        if wanted := [name for name in WORKLOADS if name not in known]:
            targets.main(["--length", length, "--workloads", *wanted])
    seeds = ["--seeds", *_SEEDS[:count]]
    costs.main(["--factor", str(costs.FULL if arguments.full else 1)])
    score.main([*seeds, "--lengths", *_LENGTHS[:count], *workers, *anew])
    long_runs.main([*seeds, "--lengths", *_LONG_RUNS[:count], *workers, *anew])
    page.main([])


if __name__ == "__main__":
    main()
