"""Old module paths, which work for one version and warn when a name is taken from them. To be removed after 0.1."""

from __future__ import annotations

import importlib
import sys
import warnings
from types import ModuleType
from typing import Any

# old module -> package that holds its names now
MOVED = {
    "lightning_lr.bracket": "lightning_lr.search",
    "lightning_lr.curve": "lightning_lr.range_test",
    "lightning_lr.leaderboard": "lightning_lr.search",
}


class MovedModule(ModuleType):
    """A module at an old path. It gives the public names of the new one, with a warning.

    Args:
        name: the old path.
        new_name: the new path.
    """

    def __init__(self, name: str, new_name: str) -> None:
        super().__init__(name, f"Moved to {new_name}.")
        self._new_name = new_name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # Python and tools look for such names in every module
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(self._new_name), name)
        warnings.warn(
            f"{self.__name__} will be removed in the next version: import {name} from {self._new_name}.",
            DeprecationWarning,
            stacklevel=2,
        )
        return value


def register_moved_modules() -> None:
    """Make the old paths importable."""
    for name, new_name in MOVED.items():
        module = MovedModule(name, new_name)
        sys.modules[name] = module
        package, _, attribute = name.rpartition(".")
        setattr(sys.modules[package], attribute, module)  # for lightning_lr.bracket.Bracket
