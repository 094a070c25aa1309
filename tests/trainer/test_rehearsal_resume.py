"""A run that is resumed with a rehearsal equals the run that is resumed without one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.lightning_classes import Callback, LightningModule, Trainer
from tests.helpers.rehearsal_check import EXPECTED_WARNINGS, Run, assert_no_trace
from tests.helpers.stateful_model import StatefulClassifier, loader, val_loader
from tests.trainer.test_rehearsal_data import batches

pytestmark = [
    *EXPECTED_WARNINGS,
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended"),
    pytest.mark.filterwarnings("ignore:Environment variable TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD detected"),
]

DATA: dict[str, Callable[[], Any]] = {
    "0 workers": loader,
    "persistent workers": lambda: loader(num_workers=2, persistent_workers=True),
    "stream": batches,
}


class Save(Callback):
    """Saves one checkpoint: after the given optimizer step, or at the end of its epoch."""

    def __init__(self, path: Path, step: int, hook: str) -> None:
        self.path, self.step, self.hook = path, step, hook

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        if self.hook == "batch end" and trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.hook == "epoch end" and not self.path.exists():
            trainer.save_checkpoint(self.path)


SAVED = [(4, "batch end"), (6, "batch end"), (6, "epoch end"), (9, "batch end")]


# With one of them also if the only rehearsal is in a later epoch.
@pytest.mark.parametrize(("data", "at_epochs"), [*((data, (0, 1, 2)) for data in DATA), ("0 workers", (2,))], ids=str)
@pytest.mark.parametrize(("step", "hook"), SAVED)
def test_leaves_no_trace(
    step: int, hook: str, data: str, at_epochs: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")  # the checkpoint of `Busy` has more than plain types
    checkpoint = tmp_path / "saved.ckpt"
    options: dict[str, Any] = {"limit_train_batches": 6, "num_sanity_val_steps": 0}

    def busy() -> StatefulClassifier:
        return StatefulClassifier("adam", "step")

    first = Run(busy, DATA[data], val_loader, trainer=lambda: options)
    trainer, fit = first.build(tmp_path / "first", Save(checkpoint, step, hook))
    trainer.fit(**fit)
    resumed = Run(
        busy,
        DATA[data],
        val_loader,
        trainer=lambda: {**options, "max_epochs": 4},
        fit={"ckpt_path": checkpoint},
        rehearse={"at_epochs": at_epochs, "is_stream": data == "stream"},
    )
    assert_no_trace(tmp_path, resumed)
