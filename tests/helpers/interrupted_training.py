"""A model that interrupts its training after some steps, and a callback that saves a checkpoint then."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from torch import Tensor

from tests.helpers.lightning_classes import (
    Callback,
    LightningModule,
    MisconfigurationException,
    SIGTERMException,
    Trainer,
)
from tests.helpers.tiny_models import Classifier

STEPS = {"left": 0}  # until the interruption; 0 or below: never. A global, since a rehearsal restores the model.
ERRORS: dict[str, type[BaseException]] = {
    "MisconfigurationException": MisconfigurationException,
    "KeyboardInterrupt": KeyboardInterrupt,
    "SIGTERM": SIGTERMException,
}


class Interrupted(Classifier):
    """Ends with an error, Ctrl-C or a signal after ``STEPS["left"]`` training steps, steps of trials included."""

    def __init__(self, error: str = "MisconfigurationException", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.error = error

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        STEPS["left"] -= 1
        if STEPS["left"] == 0 and self.error == "SIGTERM":
            os.kill(os.getpid(), signal.SIGTERM)
        elif STEPS["left"] == 0:
            raise ERRORS[self.error]("the user's own")
        return super().training_step(batch, batch_idx)


class OnException(Callback):
    """Like Lightning's ``OnExceptionCheckpoint``, which however deletes its file if the process continues."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        trainer.save_checkpoint(self.folder / "on_exception.ckpt")
