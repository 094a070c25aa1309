"""What a rehearsal does differently under some strategies. To support another strategy, begin here.

Supported are the strategies of one device, DDP and FSDP2 (``ModelParallelStrategy``). Sharded parameters need nothing
here: `snapshot` copies the local shard of a tensor, and `lightning_lr.adaptation.flat_params` sums over shards.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
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
_HOOKS_OF_FIRST_RUN = ("_state_dict_pre_hooks", "_load_state_dict_pre_hooks")
_SPAWNING_LAUNCHERS = either("strategies.launchers._MultiProcessingLauncher")


def trains_in_this_process(trainer: Trainer) -> bool:
    """Whether callbacks of this process are those of the training. With ``ddp_spawn`` and the like, copies of them are.

    From other processes only the weights, the metrics and the paths of checkpoints come back.
    """
    return not isinstance(trainer.strategy.launcher, _SPAWNING_LAUNCHERS)


@contextmanager
def sharded(trainer: Trainer) -> Iterator[None]:
    """Within this context, in which a snapshot is taken or restored, modules of FSDP2 are sharded and keep its hooks.

    FSDP2 may leave a module with gathered parameters after a validation. The snapshot is of the shards. The hooks that
    shard them again for a state dict are registered when a module first runs, perhaps in a rehearsal, and never again.
    """
    modules = list(trainer.lightning_module.modules()) if isinstance(trainer.strategy, _FSDP2) else []
    for module in modules:
        if hasattr(module, "reshard"):
            module.reshard()  # type: ignore[operator]
    all_hooks = [getattr(module, name) for module in modules for name in _HOOKS_OF_FIRST_RUN]
    kept = [{key: hook for key, hook in hooks.items() if _is_of_fsdp(hook)} for hooks in all_hooks]
    try:
        yield
    finally:
        for hooks, of_fsdp in zip(all_hooks, kept, strict=True):
            hooks.update(of_fsdp)


def renew_reducer(trainer: Trainer, builtin: object) -> None:
    """Give the DDP wrapper a new reducer, as if the wrapper had not trained.

    A reducer sums the gradients over the processes. It counts them in its first step: with ``static_graph`` it takes
    these counts for the whole run, and with ``find_unused_parameters`` those of another reducer's steps for its own. It
    then also changes the order of its gradient buckets, and so the order in which they are summed.

    The wrapper stays the same object, so hooks and references to it stay valid. The processes do not communicate here.

    Args:
        trainer: a Trainer in ``fit``.
        builtin: the ``builtin_hook`` to register, None for none.
    """
    strategy: Any = trainer.strategy
    wrapper = _ddp_wrapper(trainer)
    if wrapper is None:
        return
    wrapper._remove_autograd_hooks()  # they would stay until the reducer is collected
    wrapper.reducer = wrapper.logger = None  # frees the buckets before there are new ones
    parameters, expect_sparse_gradient = wrapper._build_params_for_reducer()
    names = wrapper._build_debug_param_to_name_mapping(parameters)
    wrapper._ddp_init_helper(parameters, expect_sparse_gradient, names, wrapper.static_graph)
    if wrapper.static_graph:
        wrapper.reducer._set_static_graph()
        wrapper.logger._set_static_graph()
    if wrapper.mixed_precision is not None:
        wrapper.reducer._set_mixed_precision_param_dtype(wrapper.mixed_precision.param_dtype)
    wrapper._static_graph_delay_allreduce_enqueued = False
    wrapper._has_rebuilt_buckets = False
    wrapper.require_forward_param_sync = True
    strategy._pl_static_graph_delay_done = False  # set in the first step of manual optimization
    hooks = list(wrapper._comm_hooks)
    wrapper._comm_hooks.clear()
    for hook, state in hooks:
        wrapper.register_comm_hook(state, hook)
    if builtin is not None:
        wrapper._register_builtin_comm_hook(builtin)


def builtin_hook(trainer: Trainer) -> object:
    """The communication hook of C++ that is registered at the DDP wrapper, a ``BuiltinCommHookType``, or None."""
    wrapper = _ddp_wrapper(trainer)
    if wrapper is None:
        return None
    hook_types: Any = torch.distributed.BuiltinCommHookType  # type: ignore[attr-defined]
    hooks = {str(hook): hook for hook in hook_types.__members__.values()}
    return hooks.get(wrapper._get_ddp_logging_data().get("comm_hook"))  # torch records it for its logs only


def communication_states(trainer: Trainer) -> list[object]:
    """What communication hooks, model averaging and other hooks of the DDP wrapper change while training."""
    wrapper = _ddp_wrapper(trainer)
    hooks = [] if wrapper is None else [value for name, value in vars(wrapper).items() if name.endswith("_hooks")]
    return [*(getattr(trainer.strategy, name, None) for name in ("_ddp_comm_state", "_model_averager")), *hooks]


def _ddp_wrapper(trainer: Trainer) -> Any:
    """The DDP wrapper of the module, None without one. A user's own strategy may have another."""
    wrapper = trainer.strategy.model
    return wrapper if isinstance(trainer.strategy, _DDP) and isinstance(wrapper, DistributedDataParallel) else None


def _is_of_fsdp(hook: Any) -> bool:
    return str(getattr(hook, "__module__", "")).startswith("torch.distributed.fsdp.")
