"""Rules that adapt the learning rate, from many initial rates, against the best constant rate of a dense grid.

    python -m benchmarks.hypergradient --workers 2

A cell is a task, an optimizer and an initial learning rate, from 1e-7 to 10 in decades. L is its final training loss
(the mean over the last tenth of the steps), L* that of the best constant rate, and L0 that of the lowest rate, which
learns nothing. A cell is recovered if log(L / L*) <= 0.1 log(L0 / L*). The second figure also counts a cell whose
validation accuracy is within 1 % of the best constant rate's. Losses are means over the seeds. The grid has four rates
a decade. Every method gets the same batches and initial weights. Prodigy replaces the optimizer and has no initial
learning rate.

Then schedules: each is run with seven rates alone, and with the adaptation from three of these.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning.pytorch import Callback

from benchmarks.tasks import OPTIMIZERS, Task, autoencoder, characters, digits, least_squares, measure, residual, train
from lightning_lr import CyclicalLR, HypergradientLR

TASKS: dict[str, Callable[[], Task]] = {
    "digits CNN": digits,
    "characters": characters,
    "least squares": least_squares,
    "auto-encoder": autoencoder,
    "residual MLP": residual,
}
STARTS = [10.0**i for i in range(-7, 2)]
GRID = [10.0 ** (-7 + i / 4) for i in range(33)]
SCHEDULE_RATES = [10.0 ** (-3.5 + i / 2) for i in range(7)]
SCHEDULE_STARTS = SCHEDULE_RATES[::3]
METHODS: dict[str, Callable[[str], Callback]] = {
    "long_horizon": lambda optimizer: HypergradientLR(),  # noqa: ARG005
    "long_horizon, every step": lambda optimizer: HypergradientLR(every=1),  # noqa: ARG005
    "multiplicative": lambda optimizer: HypergradientLR("multiplicative"),  # noqa: ARG005
    "additive, β of the paper": lambda optimizer: HypergradientLR("additive", 1e-7 if "adam" in optimizer else 1e-3),
}


class Cell(NamedTuple):
    """One run, but for its seed."""

    task: str
    optimizer: str
    lr: float
    method: str = "constant"
    schedule: str = "constant"


class Result(NamedTuple):
    """How it ended, means over the seeds."""

    loss: float
    accuracy: float


def _run(cell: Cell, steps: int, seed: int) -> Result:
    task = TASKS[cell.task]()
    callbacks: list[Callback] = []
    make: Any = OPTIMIZERS.get(cell.optimizer, _prodigy)
    if cell.schedule == "cosine":
        make = _with_cosine(make, steps)
    elif cell.schedule == "triangular":
        callbacks.append(CyclicalLR(cell.lr / 4, cell.lr, step_size=steps // 6))
    if cell.method in METHODS:
        callbacks.append(METHODS[cell.method](cell.optimizer))
    try:
        module = train(task, make, cell.lr, steps, seed, callbacks)
    except RuntimeError:  # a first step that never succeeds
        return Result(float("inf"), 0.0)
    loss = torch.stack(module.losses[-(steps // 10) :]).mean().item()
    return Result(loss if np.isfinite(loss) else float("inf"), measure(task, module)[1])


def _prodigy(parameters: Any, lr: float) -> torch.optim.Optimizer:
    from prodigyopt import Prodigy

    optimizer: torch.optim.Optimizer = Prodigy(parameters, lr, safeguard_warmup=True, use_bias_correction=True)
    return optimizer


def _with_cosine(make: Callable[[Any, float], torch.optim.Optimizer], steps: int) -> Callable[[Any, float], Any]:
    def build(parameters: Any, lr: float) -> Any:
        optimizer = make(parameters, lr)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    return build


def _results(cells: Iterable[Cell], steps: int, seeds: int, workers: int) -> dict[Cell, Result]:
    cells = list(cells)
    with ProcessPoolExecutor(workers, mp_context=get_context("fork")) as pool:
        runs = {cell: [pool.submit(_run, cell, steps, seed) for seed in range(seeds)] for cell in cells}
        return {
            cell: Result(*(float(np.mean(values)) for values in zip(*(run.result() for run in of_cell), strict=True)))
            for cell, of_cell in runs.items()
        }


def _gap(result: Result, best: Result, initial: float) -> float:
    """What is missing of the way from the initial loss to the best one, on a log scale."""
    return float(np.log(result.loss / best.loss) / np.log(initial / best.loss))


def _recovered(result: Result, best: Result, initial: float) -> tuple[bool, bool]:
    by_loss = _gap(result, best, initial) <= 0.1
    return by_loss, by_loss or result.accuracy >= best.accuracy - 0.01


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--without-schedules", action="store_true")
    arguments = parser.parse_args()
    pairs = [(task, optimizer) for task in arguments.tasks for optimizer in OPTIMIZERS]

    def results(cells: Iterable[Cell]) -> dict[Cell, Result]:
        return _results(cells, arguments.steps, arguments.seeds, arguments.workers)

    grid = results(Cell(*pair, lr) for pair in pairs for lr in GRID)
    best = {pair: min((r for c, r in grid.items() if c[:2] == pair), key=lambda r: r.loss) for pair in pairs}
    # the lowest rate of the grid changes nothing
    initial = {pair: grid[Cell(*pair, GRID[0])].loss for pair in pairs}
    print(f"{arguments.steps} steps, {arguments.seeds} seeds; share of cells recovered, by loss / or by accuracy")
    print(f"{'':28}{'all':>12}" + "".join(f"{name:>14}" for name in (*OPTIMIZERS, *arguments.tasks)))

    def row(name: str, found: dict[Cell, Result]) -> None:
        scored = {cell: _recovered(r, best[cell[:2]], initial[cell[:2]]) for cell, r in found.items()}
        columns = [("", 12)] + [(name, 14) for name in (*OPTIMIZERS, *arguments.tasks)]
        text = ""
        for column, width in columns:
            shares = [score for cell, score in scored.items() if column in ("", *cell[:2])]
            text += f"{' / '.join(f'{share:.2f}' for share in np.mean(shares, axis=0)):>{width}}"
        print(f"{name:28}{text}", flush=True)

    row("constant", {cell: r for cell, r in grid.items() if any(np.isclose(cell.lr, lr, rtol=1e-6) for lr in STARTS)})
    for method in arguments.methods:
        row(method, results(Cell(*pair, lr, method) for pair in pairs for lr in STARTS))
    prodigy = results(Cell(task, "prodigy", 1.0) for task in arguments.tasks)
    # against the best constant rate of each optimizer in turn
    row("Prodigy", {Cell(task, optimizer, 1.0): prodigy[Cell(task, "prodigy", 1.0)] for task, optimizer in pairs})
    if not arguments.without_schedules:
        _compare_on_schedules(pairs, initial, results)


def _compare_on_schedules(
    pairs: list[tuple[str, str]],
    initial: dict[tuple[str, str], float],
    results: Callable[[Iterable[Cell]], dict[Cell, Result]],
) -> None:
    for schedule in ("cosine", "triangular"):
        plain = results(Cell(*pair, lr, "constant", schedule) for pair in pairs for lr in SCHEDULE_RATES)
        ours = results(Cell(*pair, lr, "long_horizon", schedule) for pair in pairs for lr in SCHEDULE_STARTS)
        print(
            f"\non top of {schedule}, gap to the schedule with the best of {len(SCHEDULE_RATES)} rates, on a log scale"
        )
        print(f"{'':28}median alone" + "".join(f"{f'ours from {lr:.1e}':>18}" for lr in SCHEDULE_STARTS))
        for pair in pairs:
            alone = sorted((r for c, r in plain.items() if c[:2] == pair), key=lambda r: r.loss)
            found = [_gap(r, alone[0], initial[pair]) for c, r in ours.items() if c[:2] == pair]
            median = _gap(alone[len(alone) // 2], alone[0], initial[pair])
            print(f"{' '.join(pair):28}{median:12.2f}" + "".join(f"{gap:18.2f}" for gap in found), flush=True)
        best = {pair: min((r for c, r in plain.items() if c[:2] == pair), key=lambda r: r.loss) for pair in pairs}
        gaps = [_gap(r, best[c[:2]], initial[c[:2]]) for c, r in ours.items()]
        shares = np.mean([_recovered(r, best[c[:2]], initial[c[:2]]) for c, r in ours.items()], axis=0)
        print(f"mean {np.mean(gaps):.3f}, median {np.median(gaps):.3f}; recovered {shares[0]:.2f} / {shares[1]:.2f}")


if __name__ == "__main__":
    main()
