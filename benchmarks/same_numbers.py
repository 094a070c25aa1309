"""Whether a change of the code has changed any number: every callback in short runs, compared bit for bit.

    python -m benchmarks.same_numbers record before.json    # before the change
    python -m benchmarks.same_numbers compare before.json   # after it; exits with 1 if a number differs

It records the learning rates of all groups and the loss at each optimizer step, everything that is logged, and the
final weights. It uses only the public names of the package, so it runs with both versions of the code. Use the same
machine and the same versions of torch and Lightning for both.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from lightning.pytorch import seed_everything
from lightning.pytorch.callbacks import BackboneFinetuning, GradientAccumulationScheduler

from benchmarks.same_numbers_models import Diverges, Finetuned, Net, TwoOptimizers
from benchmarks.same_numbers_recording import Numbers, train
from lightning_lr import (
    CyclicalLR,
    HypergradientLR,
    LRRangeTest,
    LRSearch,
    LRTrace,
    OneCycleLR,
    WarmupStableDecayLR,
)


def distributed() -> Numbers:
    """Two processes under DDP, of which this is the first."""
    return train(
        Net("Adam"), LRRangeTest(num_steps=60), CyclicalLR(step_size=6), HypergradientLR(), devices=2, strategy="ddp"
    )


def _of_two_processes() -> Numbers:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "numbers.json"
        command = [sys.executable, "-m", "benchmarks.same_numbers", "distributed", str(file)]
        subprocess.run(command, check=True, timeout=300)
        loaded: Numbers = json.loads(file.read_text())
        return loaded


RUNS: dict[str, Callable[[], Numbers]] = {
    "trace, steps of torch": lambda: train(Net(scheduler="step"), LRTrace()),
    "range test": lambda: train(Net(momentum=0.9), LRRangeTest()),
    "range test and search": lambda: train(Net("Adam", noise=30.0), LRRangeTest(num_steps=40)),
    "range test of the accuracy, groups": lambda: train(
        Net("Adam", groups=True),
        LRRangeTest(lrs=[1e-5 * 2**i for i in range(18)], monitor="val_acc", monitor_mode="max", steps_per_lr=4),
    ),
    "range test twice, accumulation": lambda: train(
        Net(), LRRangeTest(num_steps=30, at_epochs=[0, 2], verify=False), GradientAccumulationScheduler({0: 2})
    ),
    "range test, triangular2": lambda: train(
        Net(momentum=0.9), LRRangeTest(), CyclicalLR(step_size="0.5ep", mode="triangular2")
    ),
    "range test, one cycle in three phases": lambda: train(Net(), LRRangeTest(), OneCycleLR(three_phase=True)),
    "exp_range, momentum, weight decay, groups": lambda: train(
        Net("AdamW", groups=True),
        CyclicalLR(
            [0.001, 0.01],
            [0.01, 0.1],
            step_size=5,
            step_size_down=9,
            mode="exp_range",
            decay=0.1,
            wave="cosine",
            warmup=4,
            momentum=(0.85, 0.95),
            weight_decay=(0.01, 0.1),
        ),
    ),
    "growing cycles, fitted": lambda: train(
        Net(),
        CyclicalLR(0.01, 0.1, step_size=4, cycle_mult=1.5, fit_cycles=True),
        GradientAccumulationScheduler({0: 3}),
    ),
    "warm-up, stable, decay": lambda: train(Net("Adam"), WarmupStableDecayLR(0.02)),
    "search": lambda: train(Net("Adam"), LRSearch(1e-4, 1.0, budget=900, limit_batches=20)),
    "search of the accuracy, cycles": lambda: train(
        Net(momentum=0.9),
        LRSearch(1e-3, 1.0, monitor="val_acc", monitor_mode="max", limit_batches=20),
        CyclicalLR(step_size=8),
    ),
    "adaptation, SGD from 1e-4": lambda: train(Net(lr=1e-4), HypergradientLR(), max_epochs=6),
    "adaptation of groups, Adam from 10": lambda: train(
        Net("Adam", lr=10.0, groups=True), HypergradientLR(per_group=True), max_epochs=6
    ),
    "adaptation, taken back twice": lambda: train(Diverges(momentum=0.95), HypergradientLR(horizon=20), max_epochs=6),
    "adaptation, multiplicative, Nesterov": lambda: train(
        Net(momentum=0.9, nesterov=True, weight_decay=0.01), HypergradientLR("multiplicative")
    ),
    "adaptation, additive, AdamW, each third step": lambda: train(
        Net("AdamW"), HypergradientLR("additive", beta=1e-6, every=3)
    ),
    "adaptation on a cosine": lambda: train(
        Net("Adam", lr=1e-3, scheduler="cosine"), HypergradientLR(horizon="1ep"), max_epochs=3
    ),
    "adaptation on cycles, after a range test": lambda: train(
        Net(momentum=0.9), LRRangeTest(), CyclicalLR(step_size=10), HypergradientLR(), max_epochs=5
    ),
    "adaptation, watched only": lambda: train(Net(), HypergradientLR(adapt=False)),
    "two optimizers": lambda: train(
        TwoOptimizers(),
        CyclicalLR(1e-3, 1e-2, step_size=5, optimizer=0),
        CyclicalLR(1e-2, 1e-1, step_size=3, optimizer=1),
        HypergradientLR(),
    ),
    "finetuning": lambda: train(
        Finetuned(),
        BackboneFinetuning(unfreeze_backbone_at_epoch=1),
        CyclicalLR(0.01, 0.1, step_size=7),
        HypergradientLR(),
    ),
    "resumed within an epoch": lambda: train(
        Net("Adam", groups=True),
        LRRangeTest(num_steps=60),
        CyclicalLR(step_size="0.3run", mode="triangular2"),
        HypergradientLR(per_group=True),
        resume_at=45,
        max_epochs=5,
    ),
    "one cycle, resumed": lambda: train(Net(), OneCycleLR(0.1), resume_at=50),
    "two processes": _of_two_processes,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["record", "compare", "distributed"])
    parser.add_argument("file", type=Path)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    if given.command == "distributed":
        seed_everything(7, verbose=False)
        numbers = distributed()
        if torch.distributed.get_rank() == 0:
            given.file.write_text(json.dumps(numbers))
        torch.distributed.destroy_process_group()
        return
    now = {}
    for name, run in RUNS.items():
        print(name, flush=True)
        seed_everything(7, verbose=False)  # before the model is built
        now[name] = run()
    if given.command == "record":
        given.file.write_text(json.dumps(now))
        return
    before: dict[str, Numbers] = json.loads(given.file.read_text())
    differences = [
        f"{name}: {key} differs from position {_first_difference(numbers.get(key, []), now[name].get(key, []))}"
        for name, numbers in before.items()
        if name in now
        for key in sorted({*numbers, *now[name]})
        if numbers.get(key) != now[name].get(key)
    ]
    differences += [f"{name}: this run is only in one of the two" for name in sorted(before.keys() ^ now.keys())]
    count = sum(len(values) for numbers in before.values() for values in numbers.values())
    print("\n".join(differences) or f"All {count} numbers of {len(before)} runs are the same.")
    sys.exit(bool(differences))


def _first_difference(one: list[str], other: list[str]) -> int:
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


if __name__ == "__main__":
    main()
