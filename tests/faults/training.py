"""The training that faults strike. It is the same from any checkpoint on, so that a resumed run can be compared."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from tests.contracts.models import BATCH, BATCHES, Net, Samples, batches
from tests.contracts.trained import QUIET
from tests.helpers.lightning_classes import Callback, LightningModule, Logger, Trainer, seed_everything

STEPS = 8  # two epochs


class StepNet(Net):
    """Its batch depends on the step alone, and it has no dropout: Lightning does not resume a loader mid-epoch."""

    def __init__(self) -> None:
        super().__init__(optimizer="Adam")
        self.backbone[3] = nn.Identity()
        self.samples = Samples()

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        first = self.trainer.global_step % BATCHES * BATCH
        return super().training_step((self.samples.x[first : first + BATCH], self.samples.y[first : first + BATCH]), 0)


class MemoryLogger(Logger):
    """Keeps nothing."""

    @property
    def name(self) -> str:
        return "memory"

    @property
    def version(self) -> str:
        return "0"

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Nothing is kept."""

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing is kept."""


class UsersCallback(Callback):
    """A callback of the user, with a hook of each kind."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None: ...

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None: ...

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None: ...

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None: ...

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None: ...

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None: ...


# What can fail: hooks of the module, of another callback, the loader and the logger.
MODULE_HOOKS = (
    *("setup", "configure_optimizers", "on_fit_start", "on_train_start", "on_train_epoch_start"),
    *("on_train_batch_start", "transfer_batch_to_device", "training_step", "on_before_zero_grad"),
    *("optimizer_zero_grad", "on_before_backward", "backward", "on_after_backward", "on_before_optimizer_step"),
    *("configure_gradient_clipping", "optimizer_step", "on_train_batch_end", "validation_step", "on_validation_end"),
    *("on_save_checkpoint", "on_train_epoch_end", "on_train_end", "on_fit_end"),
)
HOOKS: list[tuple[Any, str]] = [
    *((StepNet, hook) for hook in MODULE_HOOKS),
    *((UsersCallback, hook) for hook in vars(UsersCallback) if hook.startswith("on_")),
    (Samples, "__getitem__"),
    (MemoryLogger, "log_metrics"),
]


def digest(tensors: Sequence[Tensor]) -> str:
    buffer = io.BytesIO()
    torch.save([(t.to_local() if isinstance(t, DTensor) else t).detach().clone() for t in tensors], buffer)
    return hashlib.md5(buffer.getvalue()).hexdigest()


class Watch(Callback):
    """Notes the parameters and learning rates after each step, and saves a checkpoint there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.parameters: dict[int, str] = {}  # by the number of finished steps
        self.lrs: dict[int, list[float]] = {}  # that a step has used
        self.state_before, self.is_training = "", False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.is_training, self.state_before = False, digest([*pl_module.state_dict().values()])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.optimizers[0].register_step_pre_hook(lambda optimizer, *_: self._before_step(trainer, optimizer))

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self.is_training = True
        self.parameters[trainer.global_step] = digest([*pl_module.parameters()])

    def _before_step(self, trainer: Trainer, optimizer: Any) -> None:
        if self.is_training:
            self.lrs[trainer.global_step] = [float(group["lr"]) for group in optimizer.param_groups]

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self.parameters[trainer.global_step] = digest([*pl_module.parameters()])
        trainer.save_checkpoint(self.folder / f"{trainer.global_step:02}.ckpt")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.is_training = False  # a range test of the next epoch comes before its first batch

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if not self.is_training and trainer.optimizers and trainer.world_size == 1:  # it would wait for other ranks
            trainer.save_checkpoint(self.folder / "on_exception.ckpt")


@dataclass
class Run:
    """A training, before and after it has run.

    Attributes:
        callbacks: that are tried.
        folder: for checkpoints.
        strategy: arguments of the Trainer.
    """

    callbacks: Sequence[Callback]
    folder: Path
    strategy: dict[str, Any] = field(default_factory=lambda: {"accelerator": "cpu", "devices": 1})

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.watch = Watch(self.folder)
        self.trainer = Trainer(
            **{**QUIET, **self.strategy, "logger": MemoryLogger()},
            log_every_n_steps=2,
            max_steps=STEPS,
            num_sanity_val_steps=0,
            default_root_dir=self.folder.parent / "root",
            callbacks=[*self.callbacks, UsersCallback(), self.watch],
        )
        self.fresh_module()

    def fresh_module(self) -> None:
        seed_everything(1, verbose=False)
        self.module = StepNet()

    def fit(self, ckpt_path: Path | None = None) -> BaseException | None:
        """Train. Returns what ended the training."""
        try:
            self.trainer.fit(self.module, batches(shuffle=False), batches(1, shuffle=False), ckpt_path=ckpt_path)
        except BaseException as error:
            return error
        return None

    def parameters(self) -> str:
        return digest([*self.module.parameters()])

    def module_state(self) -> str:
        return digest([*self.module.state_dict().values()])

    @property
    def result(self) -> tuple[str, dict[int, list[float]]]:
        """Everything that training has made, and the learning rates of all its steps."""
        return self.module_state(), dict(self.watch.lrs)
