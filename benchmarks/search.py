"""Searches for a learning rate: the regret of the rate that they find, and the optimizer steps that they spend.

    python -m benchmarks.search --seeds 3 --workers 2

A cell is a task, an optimizer and a seed. All searches of a cell start from the same weights, on the range 1e-7 to 10.
Regret is (L(lr) - L*) / (L0 - L*): 0 is perfect, 1 is no better than untrained. L(lr) is the mean training loss of the
last 50 of 500 steps with a constant rate. L* is the lowest L(lr) of all rates that were found and of a dense grid (six
rates a decade, 1e-5 to 10). L0 is L(1e-7), which learns nothing. A rate that diverges has regret 1. The "log10 ratio"
is the mean of log10(L(lr) / L*), in which small losses count as well.

The grid, random search and Optuna's TPE with its median pruner train 100 steps for each rate on the same batches, for
as many rates as the budget allows. They choose the rate with the lowest mean loss over the last third of these steps,
which is also the score of `LRSearch`. The median pruner starts at step 34, a third of the way, as `LRSearch` does.
Without a budget, `LRSearch` spends what its defaults need. With one it spends less than the budget, because it never
counts on early ends.
"""

from __future__ import annotations

import argparse
import io
import math
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from functools import cache
from itertools import product
from multiprocessing import get_context
from typing import Literal, NamedTuple

import numpy as np
import optuna
import torch

from benchmarks.tasks import OPTIMIZERS, TASKS, Batch, train
from lightning_lr import LRRangeTest, LRSearch
from lightning_lr.search.verdicts import score

LOW, HIGH = 1e-7, 10.0  # range of all searches
DENSE = np.geomspace(1e-5, HIGH, 37).tolist()  # rates that all searches are compared with
STEPS = 500  # of a training with the rate that was found
FINAL_STEPS = 50  # of these, whose mean loss is L(lr)
TRIAL_STEPS = 100  # of a trial of the grid, of random search and of TPE


class Cell(NamedTuple):
    """One comparison of all searches."""

    task: str
    optimizer: str
    seed: int


class Found(NamedTuple):
    """The result of a search: a learning rate, and the optimizer steps that it took."""

    lr: float
    steps: int


class Result(NamedTuple):
    """How good the found rate is."""

    regret: float
    log_ratio: float
    steps: int


@cache
def _batches(cell: Cell) -> list[Batch]:
    return TASKS[cell.task]().batches(STEPS, cell.seed)


def _losses(cell: Cell, lr: float, steps: int) -> Iterator[float]:
    """The training losses with a constant rate, step by step, as a Trainer would give them."""
    task = TASKS[cell.task]()
    torch.manual_seed(cell.seed)
    net = task.build()
    optimizer = OPTIMIZERS[cell.optimizer](net.parameters(), lr)
    for x, y in _batches(cell)[:steps]:
        loss = task.loss(net(x), y)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        yield loss.item()


@cache
def _final_loss(cell: Cell, lr: float) -> float:
    """L(lr): the mean of the last training losses, infinite if any loss is not finite."""
    losses = []
    for loss in _losses(cell, lr, STEPS):
        if not math.isfinite(loss):
            return math.inf
        losses.append(loss)
    return float(np.mean(losses[-FINAL_STEPS:]))


def _range_test(cell: Cell, if_unsure: Literal["search", "warn"]) -> Found:
    test = LRRangeTest(LOW, HIGH, if_unsure=if_unsure)
    _run(cell, test)
    assert test.result is not None
    search = test.result.search
    swept = int(np.isfinite(test.result.curve.losses).sum())
    return Found(test.result.lr, swept + (0 if search is None else search.steps))


def _search(cell: Cell, budget: int | None) -> Found:
    search = LRSearch(LOW, HIGH, budget=budget)
    _run(cell, search)
    assert search.result is not None
    return Found(search.result.lr, search.result.steps)


def _run(cell: Cell, callback: LRRangeTest | LRSearch) -> None:
    """Run a callback at the start of a run that has all batches, and then only one step of the run."""
    with redirect_stdout(io.StringIO()):
        train(TASKS[cell.task](), cell.optimizer, 1e-3, STEPS, cell.seed, [callback], max_steps=1)


def _grid(cell: Cell, budget: int) -> Found:
    return _best_of(cell, np.geomspace(LOW, HIGH, budget // TRIAL_STEPS).tolist())


def _random(cell: Cell, budget: int) -> Found:
    uniform = np.random.default_rng(cell.seed).uniform(math.log(LOW), math.log(HIGH), budget // TRIAL_STEPS)
    return _best_of(cell, np.exp(uniform).tolist())


def _best_of(cell: Cell, rates: list[float]) -> Found:
    scores = [score(np.array(list(_losses(cell, lr, TRIAL_STEPS)))) for lr in rates]
    return Found(rates[int(np.argmin(scores))], len(rates) * TRIAL_STEPS)


def _tpe(cell: Cell, budget: int) -> Found:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    spent = 0

    def objective(trial: optuna.Trial) -> float:
        nonlocal spent
        losses: list[float] = []
        for loss in _losses(cell, trial.suggest_float("lr", LOW, HIGH, log=True), TRIAL_STEPS):
            spent += 1
            losses.append(loss)
            trial.report(loss, len(losses))
            if trial.should_prune():
                raise optuna.TrialPruned
        return min(score(np.array(losses)), 1e30)  # it takes no infinity

    pruner = optuna.pruners.MedianPruner(n_warmup_steps=TRIAL_STEPS // 3)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=cell.seed), pruner=pruner)
    while spent + TRIAL_STEPS <= budget:
        study.optimize(objective, n_trials=1)
    return Found(study.best_params["lr"], spent)


METHODS: dict[str, Callable[[Cell, int], Found]] = {
    "`LRRangeTest` alone": lambda cell, budget: _range_test(cell, "warn"),  # noqa: ARG005
    "`LRRangeTest`, then search if unsure": lambda cell, budget: _range_test(cell, "search"),  # noqa: ARG005
    "`LRSearch`": lambda cell, budget: _search(cell, None),  # noqa: ARG005
    "`LRSearch`, with that budget": _search,
    "grid": _grid,
    "random": _random,
    "TPE, median pruner": _tpe,
}


def _results(cell: Cell, budget: int) -> dict[str, Result]:
    torch.set_num_threads(1)  # the models are so small that a second one only costs
    warnings.simplefilter("ignore")  # of results that are not confident
    found = {name: method(cell, budget) for name, method in METHODS.items()}
    initial = _final_loss(cell, LOW)
    best = min(_final_loss(cell, lr) for lr in (*DENSE, *(each.lr for each in found.values())))
    results = {}
    for name, (lr, steps) in found.items():
        reached = min(_final_loss(cell, lr), initial)
        results[name] = Result((reached - best) / (initial - best), math.log10(reached / best), steps)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--optimizers", nargs="+", choices=OPTIMIZERS, default=["sgd", "momentum", "adam"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", type=int, default=1300, help="optimizer steps of the methods that take one")
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    cells = [Cell(*each) for each in product(arguments.tasks, arguments.optimizers, range(arguments.seeds))]
    with ProcessPoolExecutor(arguments.workers, mp_context=get_context("spawn")) as pool:
        of_cell = dict(zip(cells, pool.map(_results, cells, [arguments.budget] * len(cells)), strict=True))

    groups = ["all", *arguments.tasks, *arguments.optimizers]
    print(f"Mean regret in {len(cells)} cells, budget {arguments.budget}.\n")
    print("| | steps | worst | log10 ratio |" + "".join(f" {name} |" for name in groups))
    print("|---|" + "---:|" * (3 + len(groups)))
    for name in METHODS:
        results = {cell: of_method[name] for cell, of_method in of_cell.items()}
        steps, ratio = (np.mean([getattr(r, field) for r in results.values()]) for field in ("steps", "log_ratio"))
        worst = max(r.regret for r in results.values())
        means = [np.mean([r.regret for cell, r in results.items() if group in ("all", *cell[:2])]) for group in groups]
        row = f"| {name} | {steps:.0f} | {worst:.3f} | {ratio:.3f} |" + "".join(f" {mean:.3f} |" for mean in means)
        print(row)


if __name__ == "__main__":
    main()
