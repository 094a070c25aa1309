"""What checkpoints hold of each callback, with a rule for each field. See `_saved_state`."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any, get_args

from lightning_lr.arguments import (
    ArgumentRule,
    anything,
    choice,
    flag,
    learning_rate,
    number,
    number_or_infinity,
    optional,
    real,
    refuse,
    text,
    whole,
)
from lightning_lr.callbacks._saved_state import ABSENT, Default, fields, list_with, mapping, vectors
from lightning_lr.optimizers.update_kind import UpdateKind
from lightning_lr.range_test.curve import LRCurve
from lightning_lr.schedules.bounds import Bounds
from lightning_lr.search.bracket import Bracket
from lightning_lr.search.planner import PLAN_VERSION

_COUNT = whole(at_least=0)
LENGTHS: dict[str, Default] = {  # of epochs, with which durations are counted
    "epoch_batches": Default(optional(number_or_infinity(at_least=1)), None),
    "epoch_steps": Default(optional(number_or_infinity(at_least=1)), None),
    "extra_steps": Default(whole(at_least=-sys.maxsize), 0),
}


def _bounds(name: str, value: Any) -> dict[str, Any]:
    found = mapping(name, value)
    Bounds.checked(found.get("base_lr"), found.get("max_lr"))
    return {"base_lr": found["base_lr"], "max_lr": found["max_lr"]}


def _schedule_progress(name: str, value: Any) -> dict[str, Any]:
    if value == {}:
        return {}  # saved before the run began
    found: dict[str, Any] = _SCHEDULE_PROGRESS(name, value)
    groups, number_of_optimizers = found["groups"], len(found["courses"])
    for key in ("begun", "lr", "weight_decay"):
        if groups[key] is not None and len(groups[key]) != number_of_optimizers:
            raise refuse(f"{name}.groups.{key}", f"have one entry for each of {number_of_optimizers}", groups[key])
    for key in ("lr", "weight_decay"):  # of the groups that were there in the beginning, and of those added later
        if any(len(ratios) < count for ratios, count in zip(groups[key] or [], groups["begun"], strict=False)):
            raise refuse(f"{name}.groups.{key}", f"have a number for each group, {groups['begun']}", groups[key])
    return found


_SCHEDULE_PROGRESS = fields(
    before=Default(_COUNT, 0),
    **LENGTHS,
    courses=list_with(fields(count=_COUNT, cycle=_COUNT, phase=number(), moved=list_with(number(), 3))),
    schedule=Default(mapping, dict),
    groups=fields(
        begun=list_with(whole(at_least=1)),
        lr=list_with(list_with(number(at_least=0))),
        weight_decay=Default(optional(list_with(list_with(number(at_least=0)))), None),
    ),
)
SCHEDULE: dict[str, ArgumentRule | Default] = {
    "arguments": Default(mapping, dict),
    "bounds": Default(optional(_bounds), None),
    "progress": _schedule_progress,
}
CYCLES: dict[str, ArgumentRule | Default] = {
    **SCHEDULE,
    "losses": Default(list_with(list_with(real, 3)), list),
    "snapshots": Default(list_with(text), list),
}


_BRACKET = fields(
    arguments=mapping,
    told=list_with(
        fields(
            lr=learning_rate,
            values=list_with(real),
            spent=Default(optional(_COUNT), None),
            error=Default(optional(text), None),
        )
    ),
    plan=Default(_COUNT, 0),
)


def _bracket(name: str, value: Any) -> dict[str, Any]:
    found: dict[str, Any] = _BRACKET(name, value)
    restored_search(found)
    return found


def restored_search(state: Mapping[str, Any]) -> Bracket | None:
    """The search of a state that these rules have checked; None if an older version has planned other trials."""
    is_older = state["plan"] != PLAN_VERSION
    try:
        return None if is_older and "extends" not in state["arguments"] else Bracket.from_state(state)
    except ValueError:
        if not is_older:
            raise
        return None


def _curve(name: str, value: Any) -> dict[str, Any]:
    LRCurve.from_dict(value)
    return mapping(name, value)


FINDER: dict[str, ArgumentRule | Default] = {
    "arguments": Default(mapping, dict),
    "search": Default(
        optional(
            fields(bracket=_bracket, seed=Default(optional(_COUNT), None), bad_steps=Default(list_with(_COUNT), list))
        ),
        None,
    ),
    "run_steps": Default(number_or_infinity(at_least=1), math.inf),
    "update": Default(choice(get_args(UpdateKind)), "normalized"),  # which was taken for all before
    "module_lr": Default(optional(real), None),
}
RANGE_TEST: dict[str, ArgumentRule | Default] = {
    **FINDER,
    "done_epochs": Default(list_with(_COUNT), list),
    "result": Default(
        optional(
            fields(
                lr=learning_rate,
                base_lr=learning_rate,
                max_lr=learning_rate,
                one_cycle_max_lr=learning_rate,
                confident=flag,
                reasons=list_with(text),
                epoch=_COUNT,
                curve=_curve,
            )
        ),
        None,
    ),
}

_USED = list_with(list_with(real, 2))  # learning rate and scale


def _numbers(name: str, value: Any) -> Any:
    """A number, or several, as the betas of Adam are."""
    return list_with(real)(name, value) if isinstance(value, list) else real(name, value)


def _movement(name: str, value: Any) -> dict[str, Any]:
    is_anchor = isinstance(value, Mapping) and "means" in value
    found: dict[str, Any] = (_ANCHOR if is_anchor else _LAST_STEP)(name, value)
    return found


def _late(name: str, value: Any) -> list[Any]:
    """The sums of a measurement, and what belongs to it."""
    sums, sent = list_with(anything, 2)(name, value)
    belonging = fields(used=_USED, steps=_COUNT, batches=_COUNT)
    return [list_with(real)(f"{name}[0]", sums), belonging(f"{name}[1]", sent)]


def _hyperparameters(name: str, value: Any) -> dict[str, Any]:
    return {key: _numbers(f"{name}.{key}", each) for key, each in mapping(name, value).items()}


_OF_VECTORS = list_with(list_with(real, 3))
_ANCHOR = fields(
    means=vectors,
    squares=Default(_OF_VECTORS, list),
    reach=Default(_OF_VECTORS, ABSENT),  # distances, in checkpoints of older versions
)
_LAST_STEP = fields(used=list_with(_hyperparameters), moved=list_with(_COUNT), gradients=vectors)
_SCALED_GROUP = fields(
    rule=fields(
        scale=number(above=0),
        turns=Default(_COUNT, ABSENT),
        climbing=Default(flag, ABSENT),
        count=Default(_COUNT, ABSENT),
        mean=Default(real, ABSENT),
        square=Default(real, ABSENT),
        norm=Default(real, ABSENT),
        overshot=Default(flag, ABSENT),
        before=Default(real, ABSENT),
        beta=Default(real, ABSENT),
    ),
    alignment=list_with(real, 3),
    own=Default(real, ABSENT),
    highest=Default(real, ABSENT),
    proven=Default(real, ABSENT),
    ceiling=Default(real, ABSENT),
    max_change=Default(real, ABSENT),
    is_started=Default(flag, ABSENT),
    moved=Default(flag, True),
)
_OPTIMIZER = fields(
    adaptation=fields(
        own=list_with(real),
        units=list_with(_SCALED_GROUP),
        used=Default(_USED, list),
        unknown=Default(_COUNT, 0),
        since=Default(_COUNT, 0),
        steps=Default(_COUNT, ABSENT),
        movement=Default(optional(_movement), None),
    ),
    watch=fields(
        first=Default(list_with(real), ABSENT),
        level=Default(real, ABSENT),
        lowest=Default(real, ABSENT),
        deviation=Default(real, ABSENT),
        deviation_count=Default(_COUNT, ABSENT),
        learned=Default(flag, True),
        norm=Default(real, ABSENT),
        suspect=Default(_COUNT, ABSENT),
        calm=Default(_COUNT, ABSENT),
        returns=Default(_COUNT, ABSENT),
    ),
    guard_ended=Default(flag, False),
    late=Default(list_with(_late), list),
    losses=Default(list_with(optional(real)), list),
)
ADAPTATION: dict[str, ArgumentRule | Default] = {
    "arguments": Default(mapping, dict),
    "progress": list_with(_OPTIMIZER),
    **LENGTHS,
}
