"""Cycles with bounds from the range test, against the best of 15 fixed learning rates, in the same number of steps.

    python -m benchmarks.cycles --figure docs/cycles.png

The fixed rate is chosen by the mean validation loss over the seeds, which the cycles do not know. The steps of the
range test are not counted. Then come the snapshots of cosine cycles: the best single one, and for the last three the
mean of their predictions and the mean of their weights.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from benchmarks.argument_types import positive_count
from benchmarks.tasks import OPTIMIZERS, Task, TaskModule, characters, digits, measure, train
from lightning_lr import CyclicalLR, LRRangeTest, OneCycleLR, ensemble

STEPS = 600  # optimizer steps of each run
INITIAL_LR = 1e-3  # of the optimizers, until the range test sets another one
AVERAGED = 3  # how many of the last snapshots are averaged
SETTINGS = {
    "digits CNN, momentum": (digits, "momentum"),
    "digits CNN, Adam": (digits, "adam"),
    "characters, momentum": (characters, "momentum"),
    "characters, Adam": (characters, "adam"),
}
GRIDS = {"momentum": np.geomspace(1e-4, 1.0, 15), "adam": np.geomspace(1e-5, 0.1, 15)}
SCHEDULES: dict[str, Any] = {
    "triangular": lambda: CyclicalLR(step_size=100),
    "triangular2": lambda: CyclicalLR(step_size=100, mode="triangular2"),
    "one cycle": lambda: OneCycleLR(),
}


def _scheduled(task: Task, optimizer: str, name: str, seed: int) -> tuple[float, float]:
    """Validation loss and accuracy with a schedule whose bounds the range test finds."""
    callbacks = [LRRangeTest(), SCHEDULES[name]()]
    return measure(task, train(task, optimizer, INITIAL_LR, STEPS, seed, callbacks))


def _snapshots(task: Task, optimizer: str, seed: int) -> dict[str, tuple[float, float]]:
    """Validation loss and accuracy of the snapshots of six cosine cycles, each alone and together."""
    cycle = CyclicalLR(step_size=50, wave="cosine", snapshot_cycles=True)
    with tempfile.TemporaryDirectory() as folder:
        train(
            task,
            optimizer,
            INITIAL_LR,
            STEPS,
            seed,
            [LRRangeTest(), cycle],
            default_root_dir=folder,
        )
        arguments: dict[str, Any] = {"task": task, "make_optimizer": OPTIMIZERS[optimizer], "lr": INITIAL_LR}
        members = [TaskModule.load_from_checkpoint(path, **arguments) for path in cycle.snapshots]
        mean = ensemble(cycle.snapshots[-AVERAGED:], TaskModule, activation=nn.Softmax(-1), **arguments)
        averaged = ensemble(cycle.snapshots[-AVERAGED:], TaskModule, average=True, **arguments)
    x, y = task.val
    probabilities = mean(x).detach()
    loss = nn.functional.nll_loss(probabilities.log(), y).item()
    return {
        "best snapshot": min(measure(task, member.eval()) for member in members),
        f"ensemble of the last {AVERAGED}": (loss, (probabilities.argmax(-1) == y).float().mean().item()),
        f"average of the last {AVERAGED}": measure(task, averaged),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=positive_count, default=5)
    parser.add_argument("--figure", type=Path, help="picture to write")
    arguments = parser.parse_args()
    seeds = range(arguments.seeds)
    drawn: dict[str, tuple[Any, Any, dict[str, Any]]] = {}
    for title, (build, optimizer) in SETTINGS.items():
        task = build()
        # shape [rates, seeds, 2]: loss and accuracy
        fixed = np.array(
            [[measure(task, train(task, optimizer, lr, STEPS, s)) for s in seeds] for lr in GRIDS[optimizer]]
        )
        best = int(np.nanargmin(fixed[:, :, 0].mean(1)))
        print(f"\n{title}, {STEPS} steps, {len(seeds)} seeds{'':12} val loss (range)         val accuracy")
        _row(f"best of 15 fixed rates ({GRIDS[optimizer][best]:.1e})", fixed[best])
        found = {name: np.array([_scheduled(task, optimizer, name, seed) for seed in seeds]) for name in SCHEDULES}
        snapshots = [_snapshots(task, optimizer, seed) for seed in seeds]
        for name, results in found.items():
            _row(name, results)
        for name in snapshots[0]:
            _row(name, np.array([each[name] for each in snapshots]))
        drawn[title] = (GRIDS[optimizer], fixed, found)
    if arguments.figure:
        _draw(drawn, arguments.figure)


def _row(name: str, results: Any) -> None:
    losses, accuracies = results[:, 0], results[:, 1]
    print(f"  {name:42} {losses.mean():.4f} ({losses.min():.4f} to {losses.max():.4f})  {accuracies.mean():.2%}")


def _draw(drawn: dict[str, tuple[Any, Any, dict[str, Any]]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7), layout="constrained")
    colors = {"triangular": "#e08e45", "triangular2": "#c0392b", "one cycle": "#2e7d4f"}
    for axes, (title, (grid, fixed, found)) in zip(figure.subplots(2, 2).flat, drawn.items(), strict=True):
        losses = fixed[:, :, 0]
        axes.plot(grid, losses.mean(1), "o-", color="#1f4e79", linewidth=2, label="fixed learning rate")
        axes.fill_between(grid, losses.min(1), losses.max(1), color="#1f4e79", alpha=0.15, linewidth=0)
        for name, results in found.items():
            axes.axhline(results[:, 0].mean(), color=colors[name], linewidth=2, label=f"{name}, range test")
        axes.set_xscale("log")
        low = min(losses.mean(1).min(), *(results[:, 0].mean() for results in found.values()))
        axes.set_ylim(*((low * 0.7, low * 3) if title.startswith("digits") else (low * 0.97, low * 1.3)))
        axes.set_title(title, fontsize=14)
        axes.set_xlabel("learning rate")
        axes.set_ylabel("validation loss")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=12)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
