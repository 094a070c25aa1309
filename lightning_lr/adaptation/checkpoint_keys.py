"""The keys under which the adaptation is saved in checkpoints. They stay when an attribute gets a better name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# attribute -> key
RULE_ARGUMENTS = {"beta": "beta"}  # saved, but not loaded: the argument of the new run holds
RULE = {
    "sign_changes": "turns",
    "count": "count",
    "mean": "mean",
    "mean_square": "square",
    "mean_square_norm": "norm",
    "has_overshot": "overshot",
    "last_value": "before",
}
CONTROLLER = {
    "not_finite": "unknown",
    "since": "since",
    "steps": "steps",
}
SCALED_GROUP = {
    "scheduled_lr": "own",
    "max_survived_lr": "proven",
    "lr_ceiling": "ceiling",
    "max_change": "max_change",
    "has_started": "is_started",
    "has_moved": "moved",
}
LOSS_LEVEL = {
    "first_losses": "first",
    "level": "level",
    "lowest_level": "lowest",
    "deviation": "deviation",
    "count": "deviation_count",
    "has_learned": "learned",
}
DIVERGENCE_DETECTOR = {
    "mean_square_norm": "norm",
    "num_suspect": "suspect",
    "steps_since_return": "calm",
    "returns": "returns",
}


def save(source: object, keys: Mapping[str, str]) -> dict[str, Any]:
    """The attributes of an object that it has, by their keys."""
    return {key: getattr(source, name) for name, key in keys.items() if hasattr(source, name)}


def load(target: object, state: Mapping[str, Any], keys: Mapping[str, str]) -> None:
    """Set the attributes of an object to what `save` gave. Those that an older checkpoint lacks stay as they are."""
    for name, key in keys.items():
        if hasattr(target, name) and key in state:
            setattr(target, name, state[key])
