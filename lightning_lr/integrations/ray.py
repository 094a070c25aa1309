"""`run_bracket`: the rungs of a `Bracket` as trials of Ray Tune, on a cluster; needs ``lightning_lr[ray]``.

    def train(lr: float) -> Iterator[float]:
        model = ...  # the same state and the same batches in each trial
        while True:
            yield train_one_step(model, lr)

    bracket = Bracket(1e-6, 1.0)
    run_bracket(bracket, train, resources={"gpu": 1}, run_config=RunConfig(storage_path="/shared/search"))
    search_result(bracket, run_steps=10_000).lr

Ray places the trials and keeps their results. With ``RunConfig(failure_config=FailureConfig(max_failures=2))`` it runs
them again if a machine is lost.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from ray import tune
from ray.tune.schedulers import ASHAScheduler

from lightning_lr.arguments import checked, function, instance_of
from lightning_lr.search.bracket import Bracket
from lightning_lr.search.trial import Trial
from lightning_lr.search.verdicts import score

# Ray's ASHA scheduler keeps one in 2 trials after 1/2 of a rung. It cannot keep more.
ASHA_REDUCTION = 2


@checked(bracket=instance_of(Bracket, what="a Bracket"), train=function)
def run_bracket(
    bracket: Bracket,
    train: Callable[[float], Iterable[float]],
    resources: Mapping[str, float] | None = None,
    run_config: tune.RunConfig | None = None,
) -> None:
    """Run a search to its end, all trials that the bracket asks for at a time as one Tune experiment.

    These are the trials of a rung, and then, one by one, those with which a rung goes on beyond an end.

    Trials end early in three ways. Half way through a rung, Ray's ASHA scheduler ends a trial whose score so far is in
    the worse half of the trials that came that far. A trial ends after three values in a row that are not finite. From
    the second experiment on, it also ends if the bracket drops it. The bracket judges the rest when the experiment is
    done. So a few more trials end early than with `LRSearch`, and which ones may depend on their speed.

    A trial that fails counts as diverged. The bracket holds every experiment that is done. After an interruption, call
    this again with it, and the interrupted one is run again.

    Args:
        bracket: the search; it is told of all trials.
        train: gives one value for every ``bracket.every`` optimizer steps with a learning rate, from the common state
            on. It is called on the workers, and read only as far as needed.
        resources: of a trial, as in ``tune.with_resources``: ``{"cpu": 1}`` if None.
        run_config: where Ray keeps results, what it prints and how often it tries again. The number of the rung, and
            of the trials that were told before, is appended to its name.

    Raises:
        ValueError: if all learning rates diverged.
        RuntimeError: if Ray was stopped, for example by Ctrl-C.
        Exception: that of the first trial, if the trials with which a rung begins all failed.

    References:
        Liam Li et al., "A System for Massively Parallel Hyperparameter Tuning", 2020, arXiv:1810.05934.
    """
    while trials := bracket.ask():
        trial_of_lr = {trial.lr: trial for trial in trials}
        number = trials[0].steps // bracket.every
        half = math.ceil(number / ASHA_REDUCTION)
        config = copy.copy(run_config) if run_config is not None else tune.RunConfig()
        config.name = f"{config.name or 'lr_search'}_rung_{trials[0].rung}_after_{len(bracket.told)}"
        results = tune.Tuner(
            tune.with_resources(_trainable(bracket, trial_of_lr, train), dict(resources or {"cpu": 1})),
            param_space={"lr": tune.grid_search(list(trial_of_lr))},
            tune_config=tune.TuneConfig(
                metric="score",
                mode="min",
                scheduler=ASHAScheduler("count", max_t=number, grace_period=half, reduction_factor=ASHA_REDUCTION),
            ),
            run_config=config,
        ).fit()
        if results.num_errors == len(trials) and not bracket.rungs[-1]:  # else other trials of this rung did not fail
            raise results.errors[0]
        told = {}
        errors: dict[Trial, str] = {}
        for result in (results[i] for i in range(len(results))):
            trial = None if result.config is None else trial_of_lr[result.config["lr"]]  # None if it was not begun
            values = _values(result)
            if trial is not None and result.error is not None:
                values, errors[trial] = [*values[: number - 1], math.nan], type(result.error).__name__
            elif trial is None or not (len(values) in (half, number) or (values and bracket.stops(trial, values))):
                raise RuntimeError(
                    f"Ray was stopped in the midst of rung {trials[0].rung}: call run_bracket again with the same"
                    f" bracket to run this rung again."
                )
            told[trial] = values
        for trial, values in told.items():
            bracket.tell(trial, values, error=errors.get(trial))


def _trainable(
    bracket: Bracket, trial_of_lr: Mapping[float, Trial], train: Callable[[float], Iterable[float]]
) -> Callable[[dict[str, Any]], None]:
    """The function that a worker runs, with the bracket as it was at the start of the rung."""

    def run(config: dict[str, Any]) -> None:
        trial, values = trial_of_lr[config["lr"]], []
        for value in train(trial.lr):
            values.append(float(value))
            of_values = score(bracket.sign * np.array(values))
            tune.report({"value": values[-1], "score": of_values, "count": len(values)})
            if len(values) == trial.steps // bracket.every or bracket.stops(trial, values):
                return
        raise ValueError(
            f"train must give {trial.steps // bracket.every} values for lr={trial.lr:.3g}, got {len(values)}: repeat"
            f" the training data."
        )

    return run


def _values(result: tune.Result) -> list[float]:
    """All that a trial has reported since Ray last began it."""
    history = result.metrics_dataframe
    if history is None or "value" not in history:  # it failed before
        return []
    begun = int(np.flatnonzero(history["count"] == 1)[-1])
    values: list[float] = history["value"].tolist()[begun:]
    return values
