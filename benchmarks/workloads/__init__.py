"""Eight workloads of different kinds, on which a way to train is judged as AlgoPerf's self-tuning rules do.

Their data are made by seeded generators or read from the source of Python's standard library. Data and models are
others than those of `benchmarks.suite` and `benchmarks.tasks`, on which rules and constants of this package were
chosen. Two things in `lightning_lr.search.result` were chosen with some of them in view. One is the share of the middle
of the good learning rates that runs with SGD get, on seven of them trained with SGD instead of NadamW. The other is
that a learning rate below the best one does not move the suggestion, by long runs of three of them.

References:
    George Dahl et al., "Benchmarking Neural Network Training Algorithms", 2023, arXiv:2306.07179.
"""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.suite.setting import Setting
from benchmarks.workloads import images, sequences, tables

# A function for each workload. Making one makes its data.
WORKLOADS: dict[str, Callable[[], Setting]] = {
    make.__name__: make
    for make in (
        tables.clicks,
        tables.molecules,
        images.textures,
        images.scans,
        sequences.speech,
        sequences.translation,
        sequences.words,
        sequences.series,
    )
}
# Optimizer steps of the run that sets the target of a workload. The cheapest workloads have more.
STEPS = dict.fromkeys(WORKLOADS, 1500) | {"clicks": 4000, "series": 4000}
