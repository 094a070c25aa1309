"""What `benchmarks.same_numbers` compares: all numbers of a training, each written exactly."""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers.logger import Logger

from benchmarks.same_numbers_models import Net

Numbers = dict[str, list[str]]  # by name, each number written exactly


class Recording(Logger):
    """Keeps everything that is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers: Numbers = {}

    @property
    def name(self) -> str:
        return "recording"

    @property
    def version(self) -> int:
        return 0

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        for key, value in metrics.items():
            self.numbers.setdefault(f"logged {key}", []).append(f"{step} {float(value).hex()}")

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        pass


class StepRecorder(Callback):
    """Keeps the learning rates that each step used, and its loss."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._handles = [optimizer.register_step_pre_hook(self._note) for optimizer in trainer.optimizers]

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any) -> None:
        loss = outputs["loss"] if isinstance(outputs, Mapping) else math.nan
        self._numbers.setdefault("losses", []).append(float(loss).hex())

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for handle in self._handles:
            handle.remove()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._numbers.setdefault("exception", []).append(f"{type(exception).__name__}: {exception}")
        self.on_train_end(trainer, pl_module)

    def _note(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        rates = " ".join(float(group["lr"]).hex() for group in optimizer.param_groups)
        others = " ".join(str(group.get(key)) for group in optimizer.param_groups for key in ("momentum", "betas"))
        self._numbers.setdefault("rates", []).append(f"{rates} {others}")


class SavesAndStops(Callback):
    """Saves a checkpoint after a number of optimizer steps, and ends the run behind it."""

    def __init__(self, step: int, path: Path) -> None:
        self._step, self._path = step, path

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        if trainer.global_step == self._step:
            trainer.save_checkpoint(self._path)
            trainer.should_stop = True


def train(model: Net, *callbacks: Callback, resume_at: int | None = None, **options: Any) -> Numbers:
    """Train a model, perhaps in two runs, of which the second goes on from the checkpoint of the first."""
    logger = Recording()
    numbers = logger.numbers

    def fit(*more: Callback, checkpoint: Path | None = None) -> None:
        defaults: dict[str, Any] = {"accelerator": "cpu", "devices": 1, "max_epochs": 3, "log_every_n_steps": 1}
        defaults |= {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
        recorder = StepRecorder(numbers)
        trainer = Trainer(**{**defaults, **options}, callbacks=[*callbacks, *more, recorder], logger=logger)
        trainer.fit(model, ckpt_path=None if checkpoint is None else str(checkpoint))

    if resume_at is None:
        fit()
    else:
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = Path(folder) / "run.ckpt"
            fit(SavesAndStops(resume_at, checkpoint))
            fit(checkpoint=checkpoint)
    for callback in callbacks:
        if result := getattr(callback, "result", None):
            numbers[f"{type(callback).__name__} found"] = [
                *(float(each).hex() for each in (result.lr, result.base_lr, result.max_lr, result.one_cycle_max_lr)),
                f"{result.confident} {result.reasons}",
            ]
    weights = torch.cat([value.double().flatten() for value in model.state_dict().values()])
    numbers["weights"] = [hashlib.sha256(weights.numpy().tobytes()).hexdigest()]
    return numbers
