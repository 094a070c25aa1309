"""Ways to train any workload with one fixed setting and no learning rate given. Each file of this folder is one.

A file has a `NAME` for tables, a function `train(run)`, and a `PACKAGE` if it needs one that is optional. `train` may
find a learning rate (`run.find`), and then trains (`run.fit`); both take steps from the same budget
(`benchmarks.workloads.run`). Its settings must be the same for all workloads.

Contestants that bring no optimizer of their own train with NadamW. Rivals have the defaults of their packages or
papers. Those whose papers train with a schedule have a warm-up and a cosine.

ScheduleFree+ (Defazio 2026, arXiv:2605.19095) is missing: schedulefree has it in no release up to 1.4.1.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import Protocol, cast

from benchmarks.workloads.run import Run


class Contestant(Protocol):
    """What a file of this folder has."""

    NAME: str

    def train(self, run: Run) -> None:
        """Train a workload with the budget of the run."""


def contestants() -> dict[str, Contestant]:
    """All contestants by name, those whose package is not installed left out."""
    modules = [import_module(f"{__name__}.{each.name}") for each in iter_modules(__path__)]
    installed = [each for each in modules if find_spec(getattr(each, "PACKAGE", "torch")) is not None]
    return {module.NAME: cast(Contestant, module) for module in installed}
