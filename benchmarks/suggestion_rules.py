"""Mean regret of rules that read a learning rate off a sweep: ours and those of other libraries.

    python -m benchmarks.suggestion_rules [--data FILE]

The data are recorded sweeps of 24 settings (six tasks by four optimizers, five seeds), with the final training loss
L(lr) of 27 constant learning rates. Regret of a suggested learning rate is (L(lr) - L*) / (L0 - L*): 0 is the best
constant learning rate, 1 is no better than untrained. L(lr) is interpolated in log lr. It counts as the initial loss L0
if the run ended above L0 or not finite, or if the library gives no learning rate.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.rival_rules import RIVALS
from lightning_lr import LRCurve, suggest
from lightning_lr.range_test.rules import RULES, Rule
from lightning_lr.range_test.smoothing import Array

TESTS = ("exp100", "exp200", "exp400", "exp100n", "pl100")
DEFAULT = Path(__file__).resolve().parents[2] / "shared" / "data" / "range_test_curves.npz"
Reader = Callable[[Array, Array, bool], float | None]


def _ours(rule: Rule) -> Reader:
    return lambda lrs, losses, momentum: suggest(LRCurve(lrs, losses), rule, momentum).lr


def _readers() -> dict[str, Reader]:
    rivals: dict[str, Reader] = {
        name: lambda lrs, losses, momentum, rule=rule: rule(lrs, losses)  # type: ignore[misc]  # noqa: ARG005
        for name, rule in RIVALS.items()
    }
    return {**rivals, **{f"lightning_lr {rule}": _ours(rule) for rule in RULES}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DEFAULT, help="recorded sweeps (.npz)")
    path = parser.parse_args().data
    if not path.is_file():
        sys.exit(f"--data must be a file of recorded sweeps, got {path}, which does not exist.")
    data = np.load(path)
    index = json.loads(str(data["index"]))

    def regret(setting: dict[str, float], lr: float | None) -> float:
        initial = setting["initial_loss"]
        final = np.nan_to_num(data[f"{setting['id']}/const/loss"].astype(float), nan=np.inf).clip(max=initial)
        reached = initial if lr is None else np.interp(np.log(lr), np.log(data[f"{setting['id']}/const/lr"]), final)
        return float((reached - final.min()) / (initial - final.min()))

    print(f"{'mean regret':24}" + "".join(f"{test:>9}" for test in TESTS) + f"{'mean':>9}")
    sure: dict[bool, list[float]] = {True: [], False: []}
    for name, read in _readers().items():
        means = []
        for test in TESTS:
            regrets = []
            for setting in index:
                lrs, momentum = data[f"{setting['id']}/{test}/lr"], setting["optimizer"] != "sgd"
                for losses in data[f"{setting['id']}/{test}/loss"].astype(float):
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")  # the rivals divide by and compare with what is not finite
                        regrets.append(regret(setting, read(lrs, losses, momentum)))
                    if name == "lightning_lr dual":
                        sure[suggest(LRCurve(lrs, losses), "dual", momentum).confident].append(regrets[-1])
            means.append(np.mean(regrets))
        print(f"{name:24}" + "".join(f"{mean:9.3f}" for mean in (*means, np.mean(means))))
    share = len(sure[True]) / (len(sure[True]) + len(sure[False]))
    print(f"dual is confident in {share:.0%}: regret {np.mean(sure[True]):.3f} then, else {np.mean(sure[False]):.3f}")


if __name__ == "__main__":
    main()
