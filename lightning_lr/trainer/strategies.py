"""What a rehearsal does differently under some strategies. To support another strategy, begin here.

Supported are the strategies of one device, DDP and FSDP2 (``ModelParallelStrategy``). Sharded parameters need nothing
here: `snapshot` copies the local shard of a tensor, and `lightning_lr.adaptation.flat_params` sums over shards.
"""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Trainer
from torch.nn.parallel import DistributedDataParallel

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
_SPAWNING_LAUNCHERS = either("strategies.launchers._MultiProcessingLauncher")


def trains_in_this_process(trainer: Trainer) -> bool:
    """Whether callbacks of this process are those of the training. With ``ddp_spawn`` and the like, copies of them are.

    From other processes only the weights, the metrics and the paths of checkpoints come back.
    """
    return not isinstance(trainer.strategy.launcher, _SPAWNING_LAUNCHERS)


def reshard(trainer: Trainer) -> None:
    """Free gathered parameters, before a snapshot is taken or restored.

    FSDP2 may leave a module with gathered parameters after a validation. The snapshot is of the shards.
    """
    if isinstance(trainer.strategy, _FSDP2):
        for module in trainer.lightning_module.modules():
            if hasattr(module, "reshard"):
                module.reshard()  # type: ignore[operator]


def rewrap_model(trainer: Trainer) -> None:
    """Give the strategy a new DDP wrapper around the module, with the options of the old one.

    A wrapper counts the gradients of its first step: with ``static_graph`` it takes these counts for the whole run, and
    with ``find_unused_parameters`` those of another wrapper's steps for its own. So two wrappers must not live side by
    side. It then also changes the order of its gradient buckets, and so the order in which they are summed.

    The processes communicate here, and buffers get the values of the first rank.
    """
    strategy: Any = trainer.strategy
    if not isinstance(strategy, _DDP):
        return
    old = strategy.model
    hooks = getattr(old, "_comm_hooks", [])
    if isinstance(old, DistributedDataParallel):  # not that of a user's own strategy
        old._remove_autograd_hooks()  # type: ignore[no-untyped-call]  # they would stay until it is collected
    strategy.model = trainer.lightning_module
    strategy._pl_static_graph_delay_done = False  # set in the first step of manual optimization
    strategy.configure_ddp()
    if not getattr(strategy.model, "_comm_hooks", []):
        for hook, state in hooks:  # that a user has registered
            strategy.model.register_comm_hook(state, hook)


def communication_states(trainer: Trainer) -> list[object]:
    """What communication hooks and model averaging of DDP change while training."""
    return [getattr(trainer.strategy, name, None) for name in ("_ddp_comm_state", "_model_averager")]
