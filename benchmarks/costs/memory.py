"""The memory that callbacks hold, in copies of the parameters, and the time of an import."""

from __future__ import annotations

import gc
import itertools
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils.data import DataLoader

from benchmarks.costs.models import MIDDLE
from benchmarks.costs.ratio import Ratio, ratio_of_times
from benchmarks.timing import seconds_of
from lightning_lr import CyclicalLR, HypergradientLR, LRRangeTest, LRSearch, LRTrace

_STEPS = 30
_LOOKED_AT = 20  # of so many steps one is looked at, which takes long
_CASES: dict[str, Callable[[], list[Callback]]] = {
    "LRTrace": lambda: [LRTrace()],
    "CyclicalLR": lambda: [CyclicalLR(1e-3, 6e-3, 10)],
    "HypergradientLR": lambda: [HypergradientLR()],
    "WeightAveraging": lambda: [WeightAveraging()],
    "LRRangeTest(verify=False)": lambda: [LRRangeTest(verify=False)],
    "LRRangeTest, with its trials": lambda: [LRRangeTest()],
    "LRSearch, with its trials": lambda: [LRSearch()],
}


def bytes_of_tensors() -> int:
    """Of all that are alive, each memory counted once."""
    tensors: list[torch.Tensor] = [each for each in gc.get_objects() if issubclass(type(each), torch.Tensor)]
    storages = {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in tensors}
    return sum(storages.values())


def _most_held(callbacks: list[Callback]) -> int:
    """The most bytes of tensors that are alive before an optimizer step."""
    gc.collect()
    before, most = bytes_of_tensors(), 0

    step = itertools.count()

    def look(*_: Any) -> None:
        nonlocal most
        if next(step) % _LOOKED_AT == _LOOKED_AT - 1:
            gc.collect()
            most = max(most, bytes_of_tensors() - before)

    quiet: dict[str, Any] = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    hook = register_optimizer_step_pre_hook(look)
    try:
        trainer = Trainer(accelerator="cpu", max_epochs=1, callbacks=callbacks, **quiet)
        batches: Any = [MIDDLE.batch() for _ in range(_STEPS)]  # a list is a dataset
        trainer.fit(MIDDLE.module(), DataLoader(batches, batch_size=None))
    finally:
        hook.remove()
    return most


def ratios_of_memory() -> list[Ratio]:
    """What each callback holds beyond a bare loop, in copies of the parameters."""
    parameters = sum(each.numel() * each.element_size() for each in MIDDLE.module().parameters())
    plain = _most_held([])
    found = []
    for name, make in _CASES.items():
        copies = (_most_held(make()) - plain) / parameters
        found.append(Ratio("memory", MIDDLE.name, name, "copies of the parameters", copies, copies, copies))
    return found


def ratio_of_imports(rounds: int) -> Ratio:
    """The time to import Lightning and this package, against Lightning alone."""

    def run(statement: str) -> Callable[[], Any]:
        return lambda: subprocess.run([sys.executable, "-c", statement], check=True)

    alone, both = "import lightning.pytorch", "import lightning.pytorch, lightning_lr"
    run(both)()  # reads all files from the disk once, so that neither does while it is timed
    times = {name: np.array(each) for name, each in seconds_of({alone: run(alone), both: run(both)}, rounds).items()}
    return ratio_of_times("import", "new interpreter", times, both, alone)
