"""The strategies and precisions of the support matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from tests.helpers.lightning_classes import DDPStrategy, MixedPrecision, ModelParallelStrategy

Arguments = Callable[[], dict[str, Any]]  # makes arguments of the Trainer


def _two(strategy: Callable[[], Any]) -> Arguments:
    return lambda: {"accelerator": "cpu", "devices": 2, "strategy": strategy()}


def _ddp(**options: Any) -> Arguments:
    return _two(lambda: DDPStrategy(process_group_backend="gloo", **options))


SINGLE = "single device"
STRATEGIES: dict[str, Arguments] = {
    SINGLE: lambda: {"accelerator": "cpu", "devices": 1},
    "ddp": _ddp(),
    "ddp, gradient_as_bucket_view": _ddp(gradient_as_bucket_view=True),
    "ddp, find_unused_parameters": _ddp(find_unused_parameters=True),
    "ddp, static_graph": _ddp(static_graph=True),
    "ModelParallelStrategy (FSDP2)": _two(lambda: ModelParallelStrategy(2, 1, save_distributed_checkpoint=False)),
    "ddp_fork": _two(lambda: "ddp_fork"),
    "ddp_notebook": _two(lambda: "ddp_notebook"),
    "ddp_spawn": _two(lambda: "ddp_spawn"),
}
# Lightning starts their processes itself, for each run. The processes of the others are started once for all cells.
LAUNCHED = ("ddp_fork", "ddp_notebook", "ddp_spawn")
TWINS = {"ddp_notebook": "ddp_fork", "ddp_spawn": "ddp_fork"}  # with which their runs are compared
NOT_TRIED = {
    "ddp, ddp_comm_hook and ddp_comm_state": "Lightning uses them on GPUs only",
    "FSDPStrategy": "Lightning refuses it without a GPU",
    "DeepSpeedStrategy": "it needs a GPU and the package deepspeed",
}


def _scaler(**options: Any) -> Arguments:
    # the Trainer refuses precision="16-mixed" on a CPU, but takes its plugin
    return lambda: {"plugins": [MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", **options))]}


PRECISIONS: dict[str, Arguments] = {
    "32-true": dict,
    "64-true": lambda: {"precision": "64-true"},
    "bf16-mixed": lambda: {"precision": "bf16-mixed"},
    "bf16-true": lambda: {"precision": "bf16-true"},
    "16-mixed": _scaler(init_scale=2.0**8),
    "16-mixed, overflow": _scaler(init_scale=2.0**40, backoff_factor=2.0**-32),  # the first step is skipped
    "16-true": lambda: {"precision": "16-true"},
}
