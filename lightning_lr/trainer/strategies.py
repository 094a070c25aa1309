"""What a rehearsal does differently under some strategies. To support another strategy, begin here.

Supported are the strategies of one device, DDP and FSDP2 (``ModelParallelStrategy``). Sharded parameters need nothing
here: `snapshot` copies the local shard of a tensor, and `lightning_lr.adaptation.flat_params` sums over shards.
"""

from __future__ import annotations

from lightning.pytorch import Trainer

from lightning_lr.trainer.lightning_packages import either

# The module refers to these. The rehearsal itself restores the Trainer and keeps loggers and callbacks out. A strategy
# holds process groups and handles, which cannot be restored.
NOT_SNAPSHOTTED = (
    *either("Trainer"),
    *either("strategies.Strategy"),
    *either("loggers.Logger"),
    *either("Callback"),
)
_FSDP2 = either("strategies.ModelParallelStrategy")
_DDP = either("strategies.DDPStrategy")


def reshard(trainer: Trainer) -> None:
    """Free gathered parameters, before a snapshot is taken or restored.

    FSDP2 may leave a module with gathered parameters after a validation. The snapshot is of the shards.
    """
    if isinstance(trainer.strategy, _FSDP2):
        for module in trainer.lightning_module.modules():
            if hasattr(module, "reshard"):
                module.reshard()  # type: ignore[operator]


def rewrap_model(trainer: Trainer) -> None:
    """Give the strategy a fresh wrapper around the module; the caller restores ``trainer.strategy.model``.

    DDP changes the order of its gradient buckets after the first step, and then sums them in another order. A fresh
    wrapper leaves that of the run as it is.
    """
    if isinstance(trainer.strategy, _DDP):
        trainer.strategy.model = trainer.lightning_module
        trainer.strategy.configure_ddp()
