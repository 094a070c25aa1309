"""Schedules: the learning rate as a function of the finished optimizer steps, without an optimizer or a Trainer."""

import importlib
import warnings
from typing import Any

from lightning_lr.schedules.base import Position, Schedule, lr_at
from lightning_lr.schedules.cyclical import Cyclical
from lightning_lr.schedules.one_cycle import OneCycle
from lightning_lr.schedules.preview import Preview
from lightning_lr.schedules.warmup_stable_decay import WarmupStableDecay
from lightning_lr.schedules.waves import Wave

__all__ = [
    "Cyclical",
    "OneCycle",
    "Position",
    "Preview",
    "Schedule",
    "WarmupStableDecay",
    "Wave",
    "lr_at",
]

# old name -> module and name that replace it; to be removed in the version after 0.1
_RENAMED = {
    "Place": ("lightning_lr.schedules", "Position"),
    "Steps": ("lightning_lr.schedules.base", "Steps"),
    "eased": ("lightning_lr.schedules.waves", "wave_height"),
}


def __getattr__(name: str) -> Any:
    if name not in _RENAMED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, new_name = _RENAMED[name]
    warnings.warn(
        f"{__name__}.{name} will be removed in the next version: import {new_name} from {module}.",
        DeprecationWarning,
        stacklevel=2,
    )
    return getattr(importlib.import_module(module), new_name)
