"""What each part of `HypergradientLR` is worth: the same runs without it, by a change of a constant or a function.

    python -m benchmarks.adaptation_ablation [--settings NAME ...] [--seeds 0] [--schedules alone] [--workers 2]

The runs, gaps and shares are those of `benchmarks.adaptation`. By default it takes the settings that train fastest,
among them those that need each part most. That takes about 20 minutes on one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import product
from statistics import fmean
from typing import Any, NamedTuple

from benchmarks.adaptation import STARTS
from benchmarks.argument_types import positive_count
from benchmarks.processes import processes
from benchmarks.suite import SETTINGS
from benchmarks.suite.scheduled import SCHEDULES, Schedule, truth_under
from benchmarks.suite.training import train
from benchmarks.suite.truth import STEPS
from lightning_lr import HypergradientLR
from lightning_lr.adaptation import constants
from lightning_lr.adaptation.rules import LongHorizon

_FAST = ["cancer_drop", "regression", "vae", "bn_mlp", "dropout_mlp", "logistic", "diabetes", "towers", "digits/sgd"]
_NEAR = 0.1  # log gap
# part -> the attributes, of the constants or of the rule, without it
PARTS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "horizon 0.2 of the run": {"HORIZON_SHARE": 0.2},
    "no Kesten gain": {"GAIN_HALVING": 1e9},
    "gain of 4": {"GAIN": 4},
    "gain of 1": {"GAIN": 1},
    "cosine instead of the derivative": {"_derivative": lambda _, alignment: alignment.cosine},
    "the same limit throughout": {"MAX_CHANGE": constants.MAX_CHANGE_AT_START},
    "learning is never seen": {"LEARNED_DEVIATIONS": 1e9},
    "an overshoot is never seen": {"OVERSHOT_MEAN": 1e9},
    "no derivative is negligible": {"NEGLIGIBLE_GAIN": 0.0},
    "first step as long as it is": {"FIRST_STEP_LENGTH": 1e9},
    "nothing is far off: values that are not finite alone": {"FAR": 1e30},
    "decay of a twentieth": {"DECAY_SHARE": 0.05},
}


class Run(NamedTuple):
    """A training with one part changed."""

    part: str
    setting: str
    seed: int
    schedule: Schedule
    lr: float


@contextmanager
def _changed(values: dict[str, Any]) -> Iterator[None]:
    with ExitStack() as changes:
        for name, value in values.items():
            owner = constants if name.isupper() else LongHorizon
            changes.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, value)
        yield


def log_gap(run: Run) -> float:
    """The log gap at the end of a run."""
    with _changed(PARTS[run.part]):
        ended = train(
            SETTINGS[run.setting](), run.seed, run.lr, run.schedule, STEPS, callbacks=lambda: [HypergradientLR()]
        )
    return truth_under(run.setting, run.schedule).gap_of_loss(ended.loss).log


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=_FAST, metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--schedules", nargs="+", choices=SCHEDULES, default=["alone"])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument("--workers", type=positive_count, default=1)
    arguments = parser.parse_args()
    print(f"{'':44}{'share':>8}{'mean':>8}{'worst':>8}")
    with processes(arguments.workers) as pool:
        for part in arguments.parts:
            cells = product(arguments.settings, arguments.seeds, arguments.schedules, STARTS)
            gaps = list(pool.map(log_gap, [Run(part, *cell) for cell in cells]))
            share = fmean(gap <= _NEAR for gap in gaps)
            print(f"{part:44}{share:8.2f}{fmean(gaps):8.3f}{max(gaps):8.2f}", flush=True)


if __name__ == "__main__":
    main()
