"""The two packages that hold Lightning: ``lightning.pytorch`` and ``pytorch_lightning``.

Both hold the same code, but a class of one is not a class of the other. ``lightning`` requires ``pytorch-lightning``,
so both are always installed, and a program may use either, or both.

* Our callbacks and errors inherit from both: `Callback`, `MisconfigurationException`.
* What is looked for in a Trainer may come from either: `either`.
* What is built for a Trainer comes from the package of that Trainer: `from_package_of`.
"""

from __future__ import annotations

import importlib
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

from lightning_utilities.core import rank_zero

_PACKAGES = ("lightning.pytorch", "pytorch_lightning")

# On import, each package directs Lightning's messages to its logger. A user sets the level of the logger of
# the package that they import, so the import of the other one here must leave the direction as it is.
_settings = {name: getattr(rank_zero, name) for name in ("log", "rank_zero_deprecation_category")}
_imported = [package for package in _PACKAGES if package in sys.modules]

for _package in reversed(_PACKAGES):  # the first one last: its logger is used if the program has imported neither
    importlib.import_module(_package)

if _imported:
    for _name, _value in _settings.items():
        setattr(rank_zero, _name, _value)


@cache
def either(path: str) -> tuple[type[Any], type[Any]]:
    """A class of both packages, for ``isinstance``.

    >>> [kind.__module__ for kind in either("Trainer")]
    ['lightning.pytorch.trainer.trainer', 'pytorch_lightning.trainer.trainer']
    """
    return _attribute(_PACKAGES[0], path), _attribute(_PACKAGES[1], path)


def from_package_of(trainer: object, path: str) -> Any:
    """A class or function of the package that a Trainer, or a subclass of one, comes from.

    Raises:
        TypeError: if the object is no Trainer.
    """
    for kind in type(trainer).__mro__:
        for package in _PACKAGES:
            if kind.__module__ == f"{package}.trainer.trainer":
                return _attribute(package, path)
    raise TypeError(f"trainer must be a Trainer of {' or '.join(_PACKAGES)}, got {type(trainer).__name__}.")


def _attribute(package: str, path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(f"{package}.{module}" if module else package), name)


if TYPE_CHECKING:  # to a type checker the two are one: their hooks name different Trainers
    from lightning.fabric.utilities.exceptions import MisconfigurationException as MisconfigurationException
    from lightning.pytorch import Callback as Callback
else:

    class Callback(*either("Callback")):
        """A callback that both packages take."""

    class MisconfigurationException(*either("utilities.exceptions.MisconfigurationException")):
        """An error that the ``except`` clauses of both packages catch."""
