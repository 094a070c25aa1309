"""The optimizers that `HypergradientLR` adapts in a run."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch.optim import Optimizer

from lightning_lr.adaptation.adapted_optimizer import AdaptedOptimizer
from lightning_lr.adaptation.controller import LRController
from lightning_lr.adaptation.reset import OptimizerReset, reset_running_statistics
from lightning_lr.optimizers.param_groups import optimizer_names
from lightning_lr.trainer.grad_scaler import loss_scale


def adapted_optimizers(
    trainer: Trainer,
    pl_module: LightningModule,
    controllers: partial[LRController],
    resets: Mapping[Optimizer, OptimizerReset],
    *,
    guard: bool,
) -> list[AdaptedOptimizer]:
    """Those that ``resets`` has, in the order of the Trainer.

    Args:
        trainer: in ``on_train_start``.
        pl_module: its module.
        controllers: makes the controller of an optimizer.
        resets: of each optimizer that is adapted.
        guard: whether to return to the anchor when training has diverged.
    """
    return [
        AdaptedOptimizer(
            name,
            controllers(optimizer, reset=resets[optimizer], loss_scale=loss_scale(trainer, optimizer)),
            # with the step, since Python shows the same text only once
            warn=lambda text: rank_zero_warn(f"{text} This is step {trainer.global_step}."),
            after_return=partial(reset_running_statistics, pl_module),
            guard=guard,
        )
        for name, optimizer in zip(optimizer_names(trainer.optimizers), trainer.optimizers, strict=True)
        if optimizer in resets
    ]
