"""`run_bracket`: the rungs of a `Bracket` as trials of Ray Tune, on a cluster; needs ``lightning_lr[ray]``.

    def train(lr: float) -> Iterator[float]:
        model = ...  # the same state and the same batches in each trial
        while True:
            yield train_one_step(model, lr)

    bracket = Bracket(1e-6, 1.0)
    run_bracket(bracket, train, resources={"gpu": 1}, run_config=RunConfig(storage_path="/shared/search"))
    leaderboard(bracket)[0].lr

Ray places the trials, keeps their results and runs them again where a machine is lost
(``RunConfig(failure_config=FailureConfig(max_failures=2))``).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from ray import tune
from ray.tune.schedulers import ASHAScheduler

from lightning_lr.search.bracket import Bracket
from lightning_lr.search.trial import Trial
from lightning_lr.search.verdicts import score


def run_bracket(
    bracket: Bracket,
    train: Callable[[float], Iterable[float]],
    resources: Mapping[str, float] | None = None,
    run_config: tune.RunConfig | None = None,
) -> None:
    """Run a search to its end, each rung as one Tune experiment.

    Half way through a rung, Ray's ASHA scheduler ends a trial whose score by then (the mean of the last third so far)
    is in the worse half of those that came that far. The bracket judges the rest when the rung is done, and ends what
    is not finite at once; from the second rung on, what left the level of the lowest rate too. So a few trials more
    end early than with `LRSearch`, and which they are may depend on who is faster.

    A trial that fails counts as diverged. The bracket holds every rung that is done: called again after an
    interruption, it goes on with the rung that was cut.

    Args:
        bracket: the search; it is told of all trials.
        train: of a learning rate, from the common state on: one value for every ``bracket.every`` optimizer steps. It
            is called on the workers and read only as far as it is needed.
        resources: of a trial, as in ``tune.with_resources``: ``{"cpu": 1}`` if None.
        run_config: where Ray keeps results, what it prints and how often it tries again; the name gets the number of
            the rung behind it.

    Raises:
        ValueError: if all learning rates of a rung diverged.
        RuntimeError: if Ray was stopped, as it is by Ctrl-C.
        Exception: of the first trial, if all of a rung failed.

    References:
        Liam Li et al., "A System for Massively Parallel Hyperparameter Tuning", 2020, arXiv:1810.05934.
    """
    while trials := bracket.ask():
        of_rate = {trial.lr: trial for trial in trials}
        number = trials[0].steps // bracket.every
        half = math.ceil(number / 2)
        config = copy.copy(run_config) if run_config is not None else tune.RunConfig()
        config.name = f"{config.name or 'lr_search'}_rung_{trials[0].rung}"
        results = tune.Tuner(
            tune.with_resources(_trainable(bracket, of_rate, train), dict(resources or {"cpu": 1})),
            param_space={"lr": tune.grid_search(list(of_rate))},
            tune_config=tune.TuneConfig(
                metric="score",
                mode="min",
                scheduler=ASHAScheduler("count", max_t=number, grace_period=half, reduction_factor=2),
            ),
            run_config=config,
        ).fit()
        if results.num_errors == len(trials):
            raise results.errors[0]
        told = {}
        for result in (results[i] for i in range(len(results))):
            trial = None if result.config is None else of_rate[result.config["lr"]]  # None: it was not begun
            values = _values(result)
            if trial is not None and result.error is not None:
                values = [*values[: number - 1], math.nan]
            elif trial is None or not (len(values) in (half, number) or (values and bracket.stops(trial, values))):
                raise RuntimeError(
                    f"Ray was stopped in the midst of rung {trials[0].rung}: call run_bracket again with the same"
                    f" bracket to go on with this rung."
                )
            told[trial] = values
        for trial, values in told.items():
            bracket.tell(trial, values)


def _trainable(
    bracket: Bracket, of_rate: Mapping[float, Trial], train: Callable[[float], Iterable[float]]
) -> Callable[[dict[str, Any]], None]:
    """What a worker runs, with the bracket as it was at the start of the rung."""

    def run(config: dict[str, Any]) -> None:
        trial, values = of_rate[config["lr"]], []
        for value in train(trial.lr):
            values.append(float(value))
            of_values = score(bracket.sign * np.array(values))
            tune.report({"value": values[-1], "score": of_values, "count": len(values)})
            if len(values) == trial.steps // bracket.every or bracket.stops(trial, values):
                return
        raise ValueError(
            f"train must give {trial.steps // bracket.every} values for lr={trial.lr:.3g}, got {len(values)}: go over"
            f" the training data again and again."
        )

    return run


def _values(result: tune.Result) -> list[float]:
    """All that a trial reported, since Ray last began it."""
    history = result.metrics_dataframe
    if history is None or "value" not in history:  # it failed before
        return []
    begun = int(np.flatnonzero(history["count"] == 1)[-1])
    values: list[float] = history["value"].tolist()[begun:]
    return values
