"""What Lightning asks for further callbacks whenever a Trainer is built: ``LIGHTNING_LR=trace python train.py``.

A package beside `lightning_lr`, since Lightning imports it in every program. Without the variable it imports nothing.
"""

from __future__ import annotations

import os
from typing import Any

VARIABLE = "LIGHTNING_LR"


def callbacks() -> list[Any]:
    """An `LRTrace` if the environment variable ``LIGHTNING_LR`` is ``trace``; nothing if it is empty or not set.

    Raises:
        ValueError: for any other value.
    """
    value = os.environ.get(VARIABLE, "")
    if not value:
        return []
    if value != "trace":
        raise ValueError(f"The environment variable {VARIABLE} must be trace or not set, got {value!r}.")
    from lightning_lr import LRTrace

    return [LRTrace()]
