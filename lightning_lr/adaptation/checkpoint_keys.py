"""The keys under which the adaptation is saved in checkpoints. They stay when an attribute gets a better name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# attribute -> key
RULE_ARGUMENTS = {"beta": "beta"}  # saved, but not loaded: the argument of the new run holds
RULE = {
    "sign_changes": "turns",
    "mean_cosine": "mean",
    "last_cosine": "latest",
    "cosine_variance": "variance",
    "last_value": "before",
}
SCALED_GROUP = {
    "scheduled_lr": "own",
    "recent_max_lr": "highest",
    "schedule_direction": "direction",
    "steps_since_schedule": "steady",
    "steps": "steps",
    "peak_lr": "peak",
    "max_survived_lr": "proven",
    "lr_ceiling": "ceiling",
    "has_started": "is_started",
    "has_moved": "moved",
}
DIVERGENCE_DETECTOR = {
    "start": "start",
    "mean": "mean",
    "level": "level",
    "lowest_level": "lowest",
    "recent_low": "low",
    "variance": "variance",
    "latest_losses": "latest",
    "steps_far_above": "far",
    "steps_high": "high",
    "steps_since_return": "calm",
    "returns": "returns",
}


def save(source: object, keys: Mapping[str, str]) -> dict[str, Any]:
    """The attributes of an object that it has, by their keys."""
    return {key: getattr(source, name) for name, key in keys.items() if hasattr(source, name)}


def load(target: object, state: Mapping[str, Any], keys: Mapping[str, str]) -> None:
    """Set the attributes of an object to what `save` gave."""
    for name, key in keys.items():
        if hasattr(target, name):
            setattr(target, name, state[key])
