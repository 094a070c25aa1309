"""Optuna runs the same search, in one thread or several, and goes on with it from a storage."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Literal

import optuna
import pytest

from lightning_lr.integrations.optuna import BracketPruner, BracketSampler, planned
from lightning_lr.search.bracket import Bracket
from lightning_lr.search.leaderboard import leaderboard

Curve = Callable[[float, int], float]
RANGE = (1e-5, 10.0)
optuna.logging.set_verbosity(optuna.logging.ERROR)


def valley(lr: float, i: int) -> float:
    """Falls furthest at 0.02, diverges above 1."""
    if lr > 2 and i > 4:
        return math.nan
    return 2.0 - math.exp(-(math.log10(lr / 0.02) ** 2)) * (1 - math.exp(-i / 30))


def objective_of(curve: Curve, every: int = 1) -> Callable[[optuna.Trial], float]:
    def objective(trial: optuna.Trial) -> float:
        lr = trial.suggest_float("lr", *RANGE, log=True)
        value = math.nan
        for i in range(planned(trial).steps // every):
            value = curve(lr, i)
            trial.report(value, i)
            if trial.should_prune():
                raise optuna.TrialPruned
        return value

    return objective


def study_of(
    bracket: Bracket, storage: str | optuna.storages.BaseStorage | None = None
) -> tuple[BracketSampler, optuna.Study]:
    sampler = BracketSampler(bracket)
    direction: Literal["minimize", "maximize"] = "minimize" if bracket.sign > 0 else "maximize"
    study = optuna.create_study(
        storage=storage,
        sampler=sampler,
        pruner=BracketPruner(),
        direction=direction,
        study_name="search",
        load_if_exists=True,
    )
    return sampler, study


def search(bracket: Bracket, curve: Curve) -> Bracket:
    while trials := bracket.ask():
        for trial in trials:
            values: list[float] = []
            while len(values) < trial.steps // bracket.every and not (values and bracket.stops(trial, values)):
                values.append(curve(trial.lr, len(values)))
            bracket.tell(trial, values)
    return bracket


@pytest.mark.parametrize("arguments", [{}, {"budget": 1500}, {"mode": "max", "every": 5}])
def test_one_thread_runs_the_search_itself(arguments: dict[str, object]) -> None:
    def bracket() -> Bracket:
        return Bracket(*RANGE, **arguments)  # type: ignore[arg-type]

    def curve(lr: float, i: int) -> float:
        return bracket().sign * valley(lr, i)

    sampler, study = study_of(bracket())
    study.optimize(objective_of(curve, bracket().every))
    plain = Bracket(*RANGE, **arguments, extends=False)  # type: ignore[arg-type]
    assert repr(sampler.bracket(study).state()) == repr(search(plain, curve).state())
    assert len(study.trials) == len(sampler.bracket(study).told)
    assert leaderboard(sampler.bracket(study))[0].lr == pytest.approx(10**-1.5)


@pytest.mark.parametrize("best", [1e-8, 1e3])
def test_every_rate_lies_in_the_range_of_the_parameter(best: float) -> None:
    bracket = Bracket(*RANGE, every=10)
    sampler, study = study_of(bracket)
    study.optimize(objective_of(lambda lr, i: 2.0 - i / 100 * math.exp(-abs(math.log(lr / best)) / 10), 10))
    lrs = {outcome.lr for outcome in sampler.bracket(study).told}
    assert len(lrs) == 13
    assert RANGE[0] <= min(lrs) < max(lrs) <= RANGE[1]
    assert sampler.bracket(study).best.lr == pytest.approx(RANGE[0] if best < 1 else RANGE[1])
    assert bracket.told == []


def test_goes_on_with_outcomes_that_were_told_elsewhere() -> None:
    begun, extending = Bracket(*RANGE, every=10, extends=False), Bracket(*RANGE, every=10)
    for bracket in (begun, extending):
        for trial in bracket.ask()[:5]:
            bracket.tell(trial, [valley(trial.lr, i) for i in range(4)])
    sampler, study = study_of(begun)
    study.optimize(objective_of(valley, 10))
    assert repr(sampler.bracket(study).state()) == repr(search(begun, valley).state())
    with pytest.raises(ValueError, match=r"must not extend, .* got one with 5 outcomes: begin it with Bracket"):
        BracketSampler(extending)


def test_threads_run_each_rate_of_a_rung_once() -> None:
    started, running, most, lock = [], [0], [0], Lock()

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_float("lr", *RANGE, log=True)
        with lock:
            started.append(planned(trial))
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.005)  # else the others are never at work
        try:
            return objective_of(valley)(trial)
        finally:
            with lock:
                running[0] -= 1

    sampler, study = study_of(Bracket(*RANGE))
    study.optimize(objective, n_jobs=4)
    bracket = sampler.bracket(study)
    assert bracket.is_done
    assert most[0] > 1
    assert len(set(started)) == len(started)
    assert set(started) == {outcome.trial for outcome in bracket.told}
    assert bracket.best.lr == pytest.approx(10**-1.5)
    left = [trial for trial in study.trials if "bracket" not in trial.user_attrs]
    assert len(left) <= 4
    assert all(trial.state == optuna.trial.TrialState.PRUNED for trial in left)


def test_goes_on_in_another_process(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/search.db"
    for n_trials in (5, 9, None):
        sampler, study = study_of(Bracket(*RANGE, every=10), storage)
        study.optimize(objective_of(valley, 10), n_trials=n_trials)
    assert repr(sampler.bracket(study).state()) == repr(
        search(Bracket(*RANGE, every=10, extends=False), valley).state()
    )


def test_what_fails_counts_as_diverged_until_it_is_run_again() -> None:
    def fails(lr: float, i: int) -> float:
        if lr > 0.5 and i == 3:
            raise FloatingPointError
        return valley(lr, i)

    sampler, study = study_of(Bracket(*RANGE))
    study.optimize(objective_of(fails), n_trials=3, catch=FloatingPointError)
    first, *failed = sampler.bracket(study).told
    assert first.end == "completed"
    assert [outcome.end for outcome in failed] == ["diverged"] * 2
    assert len(failed[0].values) == 4
    assert failed[0].error == "an exception (Optuna's trial 1)"
    study.enqueue_trial(study.trials[2].params, study.trials[2].user_attrs)
    study.optimize(objective_of(lambda lr, i: 2.0 - i / 100), n_trials=1)  # noqa: ARG005
    assert [outcome.end for outcome in sampler.bracket(study).told[1:]] == ["diverged", "completed"]


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("retries", [0, 1])
def test_does_not_wait_for_a_process_that_was_killed(tmp_path: Path, retries: int) -> None:
    again = optuna.storages.RetryHeartbeatStaleTrialCallback(max_retry=retries)
    url = f"sqlite:///{tmp_path}/search.db"
    storage = optuna.storages.RDBStorage(
        url, heartbeat_interval=1, grace_period=2, heartbeat_stale_trial_callback=again
    )
    sampler, study = study_of(Bracket(1e-2, 1.0, every=50), storage)
    with pytest.warns(UserWarning, match="Heartbeat"):
        killed = study.ask()
    lr = killed.suggest_float("lr", *RANGE, log=True)
    storage.record_heartbeat(killed._trial_id)
    study.optimize(objective_of(valley, 50))
    (end,) = (outcome.end for outcome in sampler.bracket(study).rungs[0] if outcome.lr == lr)
    assert end == ("completed" if retries else "diverged")
    assert sampler.bracket(study).is_done


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_all_diverging_is_an_error(n_jobs: int) -> None:
    sampler, study = study_of(Bracket(*RANGE))
    with pytest.raises(ValueError, match="All 13 learning rates from 1e-05 to 10 diverge"):
        study.optimize(objective_of(lambda lr, i: math.nan), n_jobs=n_jobs)  # noqa: ARG005
    with pytest.raises(ValueError, match="All 13"):
        _ = sampler.bracket(study).best


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (lambda trial: trial.suggest_float("dropout", 0, 1), "the parameter 'lr' alone, got 'dropout'"),
        (lambda trial: trial.suggest_float("lr", 1e-3, 1e-1), "range that has the bracket's 1e-05 in it, got Float"),
        (lambda trial: trial.suggest_int("lr", 0, 1), "must be a float without steps"),
        (lambda trial: trial.suggest_float("lr", *RANGE), "Trial 0 must report 40 values or be pruned, got 0"),
        (lambda trial: trial.number, "Trial 0 must suggest the float 'lr', and not have it fixed"),
        (lambda trial: planned(trial).lr, "Trial 0 must suggest the float 'lr' first"),
        (lambda trial: trial.report(1.0, 0) or trial.should_prune(), "Trial 0 must suggest the float 'lr' first"),
    ],
)
def test_objectives_that_do_not_fit(objective: Callable[[optuna.Trial], float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        study_of(Bracket(*RANGE))[1].optimize(objective, n_trials=1)


def test_studies_that_do_not_fit() -> None:
    study = optuna.create_study(sampler=BracketSampler(Bracket(*RANGE)), direction="maximize")
    with pytest.raises(ValueError, match="direction must be minimize, as the bracket's mode, got maximize"):
        study.optimize(objective_of(valley))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(), pruner=BracketPruner())
    trial = study.ask()
    trial.report(1.0, 0)
    with pytest.raises(ValueError, match="must be used with a BracketSampler, got RandomSampler"):
        trial.should_prune()
