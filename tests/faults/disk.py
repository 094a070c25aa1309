"""A disk that is full: what is written to it. Found at the start, it is refused in one sentence before anything is
trained. Found later, our files may be missing; training goes on.
"""

from __future__ import annotations

import builtins
import io
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from lightning_lr import CyclicalLR, LRRangeTest, LRSearch
from tests.contracts.rows import SEARCH, SWEEP
from tests.contracts.trained import quiet
from tests.faults.training import Run, StepNet
from tests.helpers.fail_at import fail_at
from tests.helpers.lightning_classes import Callback, MisconfigurationException

# What writes files itself, by name.
WRITERS: dict[str, Callable[[Path], Sequence[Callback]]] = {
    "LRRangeTest, output_dir": lambda path: [LRRangeTest(**SWEEP, verify=False, output_dir=path)],
    "LRSearch, output_dir": lambda path: [LRSearch(**SEARCH, output_dir=path)],
    "CyclicalLR, snapshot_cycles": lambda _: [CyclicalLR(0.01, 0.1, step_size=2, snapshot_cycles=True)],
}


def run_with_full_disk(writer: str, step: int) -> tuple[int, list[str]]:
    """Train while the disk is full for one file, the number of which is given, 0 for none.

    Returns:
        How many files were opened to write them, and what is not as it must be.
    """
    with TemporaryDirectory() as name, quiet(), ExitStack() as stack:
        folder = Path(name, "out")
        run = Run(WRITERS[writer](folder), Path(name, "checkpoints"))
        run.trainer.callbacks.remove(run.watch)  # type: ignore[attr-defined]  # it saves checkpoints of its own
        faults = [stack.enter_context(fail_at(module, "open", step, kind="full disk")) for module in (builtins, io)]
        trained = stack.enter_context(fail_at(StepNet, "training_step", step=0))
        error = run.fit()
        empty = [
            str(path.relative_to(name)) for path in Path(name).rglob("*") if path.is_file() and not path.stat().st_size
        ]
    is_refused = isinstance(error, MisconfigurationException) and not trained.calls
    wrong = [f"ended with {error!r}"] if error is not None and not is_refused else []
    return max(fault.calls for fault in faults), wrong + ([f"empty files: {empty}"] if empty else [])
