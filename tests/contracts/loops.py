"""The loops of the support matrix: the module, the data and the Trainer's arguments of each."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from tests.contracts import models
from tests.contracts.models import Manual, Net, batches
from tests.helpers.lightning_classes import (
    BackboneFinetuning,
    CombinedLoader,
    EarlyStopping,
    GradientAccumulationScheduler,
    LightningModule,
    StochasticWeightAveraging,
    callbacks,
)

STEPS = 6  # optimizer steps of a run: one epoch and a half


@dataclass(frozen=True)
class Loop:
    """One way of training. Its objects are made anew for every run.

    Attributes:
        module: makes the module.
        data: makes the training data.
        trainer: makes arguments of the Trainer, besides those of the strategy and the precision.
        steps: steps of each optimizer; 0 where the clock decides.
        optimizers: number of optimizers. The Trainer counts the steps of all.
        needs: what is missing here, so that the loop is not tried; empty if nothing is.
    """

    module: Callable[[], LightningModule] = Net
    data: Callable[[], Any] = batches
    trainer: Callable[[], dict[str, Any]] = dict
    steps: int = STEPS
    optimizers: int = 1
    needs: str = ""

    def arguments(self) -> dict[str, Any]:
        """Of the Trainer."""
        return {"max_steps": self.steps * self.optimizers or -1, "max_epochs": -1, **self.trainer()}


def _with_callback(make: Callable[[], Any], **options: Any) -> Callable[[], dict[str, Any]]:
    return lambda: {"callbacks": [make()], **options}


def _combined(mode: Any) -> Loop:
    return Loop(models.FirstOf, lambda: CombinedLoader([batches(), batches(2)], mode))


def _unsized() -> DataLoader[Any]:
    return DataLoader(models.Unsized(), models.BATCH)


def _stateful() -> Any:
    from torchdata.stateful_dataloader import StatefulDataLoader  # type: ignore[import-not-found, unused-ignore]

    return StatefulDataLoader(models.Samples(), models.BATCH, shuffle=True)


def _average() -> Any:
    return callbacks.WeightAveraging(use_buffers=False)


def _optimizers() -> list[str]:
    """The names of all optimizers of torch."""
    kinds = {name: kind for name, kind in vars(torch.optim).items() if isinstance(kind, type)}
    return sorted(name for name, kind in kinds.items() if issubclass(kind, Optimizer) and kind is not Optimizer)


def _optimizer(name: str) -> Loop:
    if name == "SparseAdam":
        return Loop(lambda: models.Sparse(name))
    return Loop(lambda: Net(name))


_EPOCHS: dict[str, Any] = {"max_steps": -1, "max_epochs": 2}
_EPOCHS_STEPS = 2 * models.BATCHES

LOOPS: dict[str, Loop] = {
    "plain": Loop(),
    "two parameter groups": Loop(models.TwoGroups),
    "accumulation": Loop(trainer=lambda: {"accumulate_grad_batches": 2}),
    "accumulation, GradientAccumulationScheduler": Loop(
        trainer=_with_callback(lambda: GradientAccumulationScheduler({0: 2, 1: 1}))
    ),
    "gradient clipping": Loop(trainer=lambda: {"gradient_clip_val": 0.1}),
    "scheduler, each step": Loop(lambda: Net(scheduler="step")),
    "scheduler, each epoch": Loop(lambda: Net(scheduler="epoch")),
    "scheduler, ReduceLROnPlateau": Loop(lambda: Net(scheduler="plateau")),
    "manual": Loop(Manual),
    "manual, two optimizers": Loop(models.TwoOptimizers, trainer=lambda: _EPOCHS, steps=_EPOCHS_STEPS, optimizers=2),
    "manual, two optimizers, max_steps": Loop(models.TwoOptimizers, optimizers=2),
    "manual, closures": Loop(lambda: Manual(closure=True)),
    "manual, two optimizers, closures": Loop(
        lambda: models.TwoOptimizers(closure=True), trainer=lambda: _EPOCHS, steps=_EPOCHS_STEPS, optimizers=2
    ),
    "manual, no loss returned": Loop(lambda: Manual(returns=False)),
    "None for some losses": Loop(models.NoneLosses),
    "un-sized loader": Loop(data=_unsized),
    "un-sized loader, length not known": Loop(data=_unsized, trainer=lambda: _EPOCHS, steps=_EPOCHS_STEPS),
    "one-shot stream": Loop(data=models.stream),
    "list of loaders": Loop(models.FirstOf, lambda: [batches(), batches(2)]),
    "CombinedLoader, max_size_cycle": _combined("max_size_cycle"),
    "CombinedLoader, max_size": _combined("max_size"),
    "CombinedLoader, min_size": _combined("min_size"),
    "CombinedLoader, sequential": _combined("sequential"),
    "StatefulDataLoader": Loop(
        data=_stateful, needs="" if importlib.util.find_spec("torchdata") else "torchdata is not installed"
    ),
    "persistent workers": Loop(data=lambda: batches(num_workers=1, persistent_workers=True)),
    "limit_train_batches": Loop(trainer=lambda: {"limit_train_batches": 3}),
    "overfit_batches": Loop(trainer=lambda: {"overfit_batches": 1}),
    "reload_dataloaders_every_n_epochs": Loop(trainer=lambda: {"reload_dataloaders_every_n_epochs": 1}),
    "max_epochs": Loop(trainer=lambda: _EPOCHS, steps=_EPOCHS_STEPS),
    "max_time": Loop(trainer=lambda: {"max_time": timedelta(hours=1)}),
    "max_time alone": Loop(
        trainer=lambda: {"max_time": timedelta(seconds=0.2), "max_steps": -1, "max_epochs": -1}, steps=0
    ),
    "fast_dev_run": Loop(trainer=lambda: {"fast_dev_run": 3}, steps=3),
    "barebones": Loop(trainer=lambda: {"barebones": True}),
    "EarlyStopping": Loop(
        trainer=_with_callback(lambda: EarlyStopping("train_loss", patience=100, check_on_train_epoch_end=True))
    ),
    "compiled module": Loop(models.Compiled),
    "tensor learning rates": Loop(models.TensorLR),
    "sparse gradients": Loop(models.Sparse),
    "complex parameters": Loop(models.Complex),
    "frozen parameters": Loop(models.Frozen),
    "unused parameters": Loop(models.Unused),
    "group added by the module": Loop(models.AddsGroup),
    "group added by BackboneFinetuning": Loop(
        trainer=_with_callback(lambda: BackboneFinetuning(1, backbone_initial_ratio_lr=0.1, should_align=False))
    ),
    "StochasticWeightAveraging": Loop(
        trainer=_with_callback(lambda: StochasticWeightAveraging(0.01, swa_epoch_start=1), **_EPOCHS),
        steps=_EPOCHS_STEPS,
    ),
    "WeightAveraging": Loop(
        trainer=_with_callback(_average),
        needs="" if hasattr(callbacks, "WeightAveraging") else "Lightning 2.6 brought it",
    ),
    **{f"optimizer {name}": _optimizer(name) for name in _optimizers()},
    "optimizer AdamW, fused": Loop(lambda: Net("AdamW", fused=True)),
    "optimizer AdamW, amsgrad": Loop(lambda: Net("AdamW", amsgrad=True)),
}
