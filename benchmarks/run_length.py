"""How the best constant learning rate changes with the length of a run, and how close to an edge trials find it.

    python -m benchmarks.run_length lengths [--names NAME ...] [--steps 600 1200 2400]
    python -m benchmarks.run_length shares [--names NAME ...] [--steps 600] [--seeds 0 1]

``lengths`` trains settings of `benchmarks.suite` with constant rates, a quarter of a decade apart. The best rate of
runs of 200 steps, times (200 / T)^e, is looked up in runs of T steps. It prints the mean log gap for each e, for
optimizers that normalize their updates and for others.

``shares`` runs `LRRangeTest` on `benchmarks.workloads`, with SGD in the place of NadamW, and trains with shares of the
middle of the good ones in its trials. It prints the mean log gap of each share, against the best of them.

The exponent and the shares of `lightning_lr.search.result` were chosen by these. Both take about ten minutes on a core.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import replace

import numpy as np
import torch

from benchmarks.argument_types import positive_count
from benchmarks.suite import SETTINGS
from benchmarks.suite.engine import train_copies
from benchmarks.suite.finders import find
from benchmarks.suite.optimizers import one
from benchmarks.suite.truth import Truth, truth_of
from benchmarks.workloads import WORKLOADS
from lightning_lr import LRRangeTest
from lightning_lr.range_test.smoothing import Array

_TRIAL_STEPS = 200
_EXPONENTS = (0.0, 0.35, 0.5)
_SHARES = np.array([0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
_NORMALIZED = ("adam", "adamw", "lion", "muon", "rmsprop", "adafactor")
# Those whose copies train within a minute.
_FAST = [
    "logistic",
    "vae",
    "cancer_drop",
    "dropout_mlp",
    "tagger_gru",
    "least_squares/adam",
    "residual/adam",
    "autoencoder/adam",
    "digits/adam",
    "characters/adam",
    "diabetes",
    "multitask",
    "infonce",
    "ft_head",
    "fasttext",
    "regression",
    "bn_mlp",
    "least_squares/sgd",
    "residual/sgd",
    "autoencoder/sgd",
    "digits/momentum",
]
_SGD = {"SGD": one(torch.optim.SGD), "SGD with momentum": one(torch.optim.SGD, momentum=0.9)}


def _ends(losses: Array, steps: int) -> Array:
    """The mean of the last tenth of runs of so many steps, infinite if they diverged."""
    ends = losses[:, steps - max(20, steps // 10) : steps].mean(1)
    return np.where(np.isfinite(ends), ends, np.inf)


def lengths(names: list[str], steps: list[int]) -> None:
    """Print the first table."""
    gaps: dict[tuple[str, int, float], list[float]] = defaultdict(list)
    for name in names:
        setting, truth = SETTINGS[name](), truth_of(name)["constant"]
        lrs = truth.best_lr * 10 ** (np.arange(-5, 6) / 4)
        losses = train_copies(setting, np.repeat(lrs[:, None], max(steps), 1), [0] * len(lrs))
        kind = "normalized" if setting.optimizer in _NORMALIZED else "others"
        best = lrs[int(np.argmin(_ends(losses, _TRIAL_STEPS)))]
        for length in steps:
            at_length = Truth(lrs, _ends(losses, length), truth.initial)
            for exponent in _EXPONENTS:
                gaps[kind, length, exponent].append(at_length.gap(best * (_TRIAL_STEPS / length) ** exponent).log)
    for (kind, length, exponent), values in sorted(gaps.items()):
        print(f"{kind}, {length} steps, exponent {exponent:g}: {np.mean(values):.3f} ({len(values)} settings)")


def shares(names: list[str], steps: list[int], seeds: list[int]) -> None:
    """Print the second table."""
    for title, optimizers in _SGD.items():
        for length in steps:
            gaps = []
            for name in names:
                setting = replace(WORKLOADS[name](), optimizer="momentum", optimizers=optimizers)
                for seed in seeds:
                    finder, _ = find(setting, seed, LRRangeTest(), length)
                    assert finder.result is not None
                    assert finder.result.search is not None
                    lrs = finder.result.search.middle * _SHARES
                    losses = train_copies(setting, np.repeat(lrs[:, None], length, 1), [seed] * len(lrs))
                    truth = Truth(lrs, _ends(losses, length), float(losses[:, 0].mean()))
                    gaps.append([truth.gap_of_loss(loss).log for loss in truth.losses])
            means = ", ".join(f"{share:g}: {gap:.3f}" for share, gap in zip(_SHARES, np.mean(gaps, 0), strict=True))
            print(f"{title}, {length} steps, {len(gaps)} runs, mean log gap of each share: {means}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=["lengths", "shares"])
    parser.add_argument("--names", nargs="+", metavar="NAME", help="settings, or workloads")
    parser.add_argument("--steps", type=positive_count, nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.table == "lengths":
        lengths(arguments.names or _FAST, arguments.steps or [600, 1200, 2400])
    else:
        # LSTMs of torch cannot be trained as many copies at once
        names = arguments.names or [name for name in WORKLOADS if name != "words"]
        shares(names, arguments.steps or [600], arguments.seeds)


if __name__ == "__main__":
    main()
