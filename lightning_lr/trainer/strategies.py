"""What a rehearsal does differently under some strategies. To support another strategy, begin here.

Supported are the strategies of one device, DDP and FSDP2 (``ModelParallelStrategy``). Sharded parameters need nothing
here: `snapshot` copies the local shard of a tensor.
"""

from __future__ import annotations

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy

# The module refers to these. The rehearsal itself restores the Trainer and keeps loggers and callbacks out. A strategy
# holds process groups and handles, which cannot be restored.
NOT_SNAPSHOTTED: tuple[type, ...] = (Trainer, Strategy, Logger, Callback)


def reshard(trainer: Trainer) -> None:
    """Free gathered parameters, before a snapshot is taken or restored.

    FSDP2 may leave a module with gathered parameters after a validation. The snapshot is of the shards.
    """
    if isinstance(trainer.strategy, ModelParallelStrategy):
        for module in trainer.lightning_module.modules():
            if hasattr(module, "reshard"):
                module.reshard()  # type: ignore[operator]


def wrap_model_anew(trainer: Trainer) -> None:
    """Give the strategy a fresh wrapper around the module; the caller restores ``trainer.strategy.model``.

    DDP changes the order of its gradient buckets after the first step, and then sums them in another order. A fresh
    wrapper leaves that of the run as it is.
    """
    if isinstance(trainer.strategy, DDPStrategy):
        trainer.strategy.model = trainer.lightning_module
        trainer.strategy.configure_ddp()
