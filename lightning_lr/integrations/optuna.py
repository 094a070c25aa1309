"""`BracketSampler` and `BracketPruner`: an `optuna.Study` that runs a `Bracket`; needs ``lightning_lr[optuna]``.

    def objective(trial: optuna.Trial) -> float:
        lr = trial.suggest_float("lr", 1e-6, 1.0, log=True)
        for step in range(planned(trial).steps):
            loss = train_one_step(lr)  # from the same state and on the same batches in each trial
            trial.report(loss, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return loss

    sampler = BracketSampler(Bracket(1e-6, 1.0))
    study = optuna.create_study(sampler=sampler, pruner=BracketPruner(), storage="sqlite:///search.db")
    study.optimize(objective, n_jobs=2)  # ends by itself
    search_result(sampler.bracket(study), run_steps=10_000).lr

The search is computed from the study's trials alone. So it goes on wherever they are: in several threads or machines
that share a storage, and in another process later. ``study.best_trial`` does not know of rungs: take the learning rate
from `search_result` of `BracketSampler.bracket`.

* The learning rates are those of the bracket's grid between ``min_lr`` and ``max_lr``, ends included. Optuna fixes the
  range of a parameter in advance, so the search does not go on beyond these ends.
* Each learning rate of a rung is given to one trial. When all are given, ``suggest_float`` waits until they are done,
  since the next rung depends on them. So ask by hand for no more trials than you run side by side.
* A trial that fails counts as diverged, as does one that returns NaN. If it is run again, the last run counts. Optuna
  runs it again by its ``RetryHeartbeatStaleTrialCallback``, or by
  ``study.enqueue_trial(failed.params, failed.user_attrs)``, for example after Ctrl-C.
* A process that is killed leaves its trial running in the storage. The others wait for it for ever, unless the storage
  has a heartbeat by which Optuna notices.
* Threads and machines for which nothing is left to run end in a pruned trial without a learning rate.
* A database takes some 20 ms for each report and for each ``should_prune``. If that is too slow, give the bracket an
  ``every`` of several steps.
"""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from lightning_lr.arguments import checked, instance_of
from lightning_lr.integrations.optuna_trials import PLAN_KEY, ended_trials, plan_of, reported, told_bracket
from lightning_lr.search.bracket import Bracket
from lightning_lr.search.trial import Trial

# Seconds between two looks at the storage of a trial that waits for the next rung. A training takes far longer.
_POLL_SECONDS = 0.1


class BracketSampler(optuna.samplers.BaseSampler):
    """Suggests the learning rates of a bracket, for a float parameter named ``lr``. It refuses other parameters.

    After a trial has suggested ``lr``, `planned` tells its number of optimizer steps. The trial reports one value for
    every ``bracket.every`` of these steps.

    Args:
        bracket: the search, at its start or with outcomes that were told to it elsewhere. It is not changed. Its copy
            here does not extend, whatever its argument ``extends`` says.

    Raises:
        ValueError: if the bracket has outcomes and was made with ``extends=True``. In a trial, if its parameters, its
            reports or the direction of the study do not fit, or if all learning rates diverged.

    Example:
        >>> study = optuna.create_study(sampler=BracketSampler(Bracket(1e-3, 1.0)), pruner=BracketPruner())
        >>> study.ask().suggest_float("lr", 1e-3, 1.0)
        0.001
    """

    @checked(bracket=instance_of(Bracket, what="a Bracket"))
    def __init__(self, bracket: Bracket) -> None:
        state = bracket.state()
        if state["told"] and state["arguments"]["extends"]:
            raise ValueError(
                f"A bracket that was told of trials must not extend, since Optuna's range of 'lr' is fixed, got one"
                f" with {len(state['told'])} outcomes: begin it with Bracket(..., extends=False)."
            )
        self._start = {**state, "arguments": {**state["arguments"], "extends": False}}
        self._latest: tuple[Any, Bracket] = None, Bracket.from_state(self._start)

    def bracket(self, study: optuna.Study) -> Bracket:
        """The bracket, told of all trials of a study that have ended."""
        return self._told(study.get_trials(deepcopy=False))

    def infer_relative_search_space(
        self,
        study: optuna.Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        return {}  # no parameters are sampled together

    def sample_relative(
        self,
        study: optuna.Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
        search_space: dict[str, BaseDistribution],  # noqa: ARG002
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> float:
        if param_name != "lr":
            raise ValueError(
                f"BracketSampler searches the parameter 'lr' alone, got {param_name!r}: give that a fixed value, since"
                f" learning rates are compared with all else equal."
            )
        if len(study.directions) != 1:
            raise ValueError(f"The study must have one objective, the loss, got {len(study.directions)} directions.")
        direction = "minimize" if self._latest[1].sign > 0 else "maximize"
        if study.direction.name.lower() != direction:
            raise ValueError(
                f"The study's direction must be {direction}, as the bracket's mode, got {study.direction.name.lower()}."
            )
        while (plan := self._next_plan(study, trial)) is None:
            time.sleep(_POLL_SECONDS)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                optuna.storages.fail_stale_trials(study)  # those whose process was killed
        interval = param_distribution
        if (
            not isinstance(interval, FloatDistribution)
            or interval.step is not None
            or not interval.low <= plan.lr <= interval.high
        ):
            raise ValueError(
                f"The parameter 'lr' must be a float without steps, in a range that has the bracket's {plan.lr:.3g}"
                f" in it, got {interval}."
            )
        study._storage.set_trial_user_attr(trial._trial_id, PLAN_KEY, asdict(plan))
        return plan.lr

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,  # noqa: ARG002
    ) -> None:
        ended = copy.copy(trial)
        ended.state, ended.datetime_complete = state, datetime.now()
        if state == TrialState.COMPLETE and plan_of(ended) is None:
            raise ValueError(f"Trial {trial.number} must suggest the float 'lr', and not have it fixed.")
        others = (each for each in study.get_trials(deepcopy=False) if each.number != trial.number)
        if not self._told([*others, ended]).ask():
            _stop(study)

    def _next_plan(self, study: optuna.Study, trial: FrozenTrial) -> Trial | None:
        """What a trial is to run, None if that cannot be known yet.

        Trials choose in the order of their numbers, and the storage gives each number once. So no two trials choose the
        same, in whatever process they are.
        """
        trials = study.get_trials(deepcopy=False)
        if any(
            each.number < trial.number and each.state == TrialState.RUNNING and plan_of(each) is None for each in trials
        ):
            return None
        asked = self._told(trials).ask()
        if not asked:
            _stop(study)
            raise optuna.TrialPruned("The search is done.")
        taken = [plan_of(each) for each in trials if not each.state.is_finished()]
        free = next((each for each in asked if each not in taken), None)
        if free is None and any(each.state == TrialState.WAITING and plan_of(each) for each in trials):
            raise optuna.TrialPruned("The trial gives way to one that is to be run again.")
        return free

    def _told(self, trials: Sequence[FrozenTrial]) -> Bracket:
        """The bracket, told of those of the trials that have ended."""
        ended = ended_trials(trials)
        key = [(each.number, each.state, each.datetime_complete) for _, each in ended]
        known, bracket = self._latest
        if key != known:
            bracket = told_bracket(self._start, ended)
            self._latest = key, bracket
        return bracket


class BracketPruner(optuna.pruners.BasePruner):
    """Drops the trials that the bracket of the study's `BracketSampler` drops."""

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        if not isinstance(study.sampler, BracketSampler):
            raise ValueError(
                f"BracketPruner must be used with a BracketSampler, got {type(study.sampler).__name__}: give both to"
                f" create_study."
            )
        values = reported(trial)
        return bool(values) and study.sampler.bracket(study).stops(_stored_plan(study, trial), values)


def planned(trial: optuna.Trial) -> Trial:
    """What a trial is to run: its learning rate, its rung, and its optimizer steps.

    Args:
        trial: the trial of an objective, after it has suggested ``lr``.

    Raises:
        ValueError: if it has not suggested ``lr`` yet.
    """
    return _stored_plan(trial.study, trial)


def _stored_plan(study: optuna.Study, trial: optuna.Trial | FrozenTrial) -> Trial:
    # read from the storage, since the trial's own attributes are those of its start
    if (plan := plan_of(study._storage.get_trial(trial._trial_id))) is None:
        raise ValueError(f"Trial {trial.number} must suggest the float 'lr' first, with a BracketSampler.")
    return plan


def _stop(study: optuna.Study) -> None:
    with suppress(RuntimeError):  # no loop to stop: the trials are asked for by hand
        study.stop()
