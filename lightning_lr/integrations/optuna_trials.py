"""What the trials of an Optuna study say to a `Bracket`: what each was to run, and the values that it has reported."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from lightning_lr.search.bracket import Bracket
from lightning_lr.search.trial import Trial

# Key of a trial's user attributes under which its plan is stored.
PLAN_KEY = "bracket"


def plan_of(trial: FrozenTrial) -> Trial | None:
    """What a trial is to run, None if it has not suggested a learning rate."""
    plan = trial.user_attrs.get(PLAN_KEY)
    return None if plan is None else Trial(**plan)


def reported(trial: FrozenTrial) -> list[float]:
    """The values that a trial has reported, in the order of its steps."""
    return [value for _, value in sorted(trial.intermediate_values.items())]


def ended_trials(trials: Sequence[FrozenTrial]) -> list[tuple[Trial, FrozenTrial]]:
    """Those that have ended, each with its plan. If a trial was run again, its last run counts.

    Budgets and drops depend on the order of telling, so it is the same in all processes: by rung, then by time.
    """
    by_number = sorted(trials, key=lambda each: each.number)
    runs = {plan: each for each in by_number if (plan := plan_of(each)) is not None}
    ended = [(plan, each) for plan, each in runs.items() if each.state.is_finished()]
    return sorted(ended, key=lambda pair: (pair[0].rung, pair[1].datetime_complete, pair[1].number))


def told_bracket(start: Mapping[str, Any], ended: Sequence[tuple[Trial, FrozenTrial]]) -> Bracket:
    """The bracket of a state, told of these trials.

    Args:
        start: what `Bracket.state` gave.
        ended: as `ended_trials` gives them.

    Raises:
        ValueError: if a trial was completed and has not reported all its values.
    """
    bracket = Bracket.from_state(start)
    for plan, each in ended:
        # If a trial ended otherwise when it was run again, trials that followed from its first run drop out.
        if plan in _asked(bracket):
            error = f"an exception (Optuna's trial {each.number})" if each.state == TrialState.FAIL else None
            bracket.tell(plan, _values(each, plan.steps // bracket.every), error=error)
    return bracket


def _asked(bracket: Bracket) -> list[Trial]:
    with suppress(ValueError):  # all learning rates diverged
        return bracket.ask()
    return []


def _values(trial: FrozenTrial, number: int) -> list[float]:
    """The values to tell of a trial that has ended and should have ``number`` of them."""
    values = reported(trial)
    if trial.state == TrialState.FAIL:
        return [*values[: number - 1], math.nan]
    if trial.state == TrialState.COMPLETE and len(values) != number:
        raise ValueError(
            f"Trial {trial.number} must report {number} values or be pruned, got {len(values)}: train for"
            f" planned(trial).steps steps, report one value for every bracket.every of them, and begin a new study,"
            f" since this one holds the trial."
        )
    return values[:number] or [math.nan]
