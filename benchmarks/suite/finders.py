"""Runs the callbacks that find a learning rate on a setting, with a real Trainer."""

from __future__ import annotations

import io
import logging
import warnings
from contextlib import redirect_stderr, redirect_stdout
from typing import Any, TypeVar

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.data import DataLoader

from benchmarks.suite.setting import Batch, Setting
from benchmarks.suite.truth import STEPS

_INITIAL_LR = 1e-3
Finder = TypeVar("Finder", bound=Callback)


class SettingModule(LightningModule):
    """A setting as a user would write it. Several optimizers take manual optimization."""

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.model, self.lr = setting.build(), _INITIAL_LR
        self.loss, self.make_optimizers = setting.loss, setting.optimizers
        self.automatic_optimization = len(self.make_optimizers(self.model, self.lr)) == 1

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = self.loss(self.model, batch)
        if not self.automatic_optimization:
            optimizers: Any = self.optimizers()
            for optimizer in optimizers:
                optimizer.zero_grad()
            self.manual_backward(loss)
            for optimizer in optimizers:
                optimizer.step()
        return loss

    def configure_optimizers(self) -> Any:
        return self.make_optimizers(self.model, self.lr)


class _StopAtStart(Callback):
    """Ends the run when the finder is done, before the first step of the run."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.should_stop = True


def find(setting: Setting, seed: int, finder: Finder, steps: int = STEPS) -> tuple[Finder, int]:
    """Run a finder at the start of a run. Returns it, and the optimizer steps that it took."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.manual_seed(1000 + seed)
    module = SettingModule(setting)
    batches: Any = setting.batches(steps, seed)  # a list is a dataset
    quiet: dict[str, Any] = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    stepped: list[type[Optimizer]] = []
    hook = register_optimizer_step_post_hook(lambda optimizer, *_: stepped.append(type(optimizer)))
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            trainer = Trainer(
                accelerator="cpu",
                max_epochs=1,  # max_steps would count the steps of all optimizers together
                gradient_clip_val=setting.clip,
                callbacks=[finder, _StopAtStart()],
                **quiet,
            )
            trainer.fit(module, DataLoader(batches, batch_size=None))
    finally:
        hook.remove()
    if trainer.global_step > 0:
        raise RuntimeError(f"the run should have ended before its first step, got global_step={trainer.global_step}.")
    return finder, len(stepped) // len(trainer.optimizers)
