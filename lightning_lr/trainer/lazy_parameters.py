"""Lazy parameters of torch, which have no values before the first batch."""

from __future__ import annotations

from lightning.pytorch import LightningModule
from torch.nn.parameter import is_lazy

from lightning_lr.trainer.lightning_packages import MisconfigurationException


def check_no_lazy_parameters(owner: str, module: LightningModule) -> None:
    """Raise a MisconfigurationException if a parameter or buffer is not initialised yet.

    Args:
        owner: name of the callback that needs the values.
        module: of the Trainer.
    """
    named = [*module.named_parameters(), *module.named_buffers()]
    lazy = [name for name, tensor in named if is_lazy(tensor)]
    if lazy:
        raise MisconfigurationException(
            f"{owner} needs the values of all parameters when training starts, but {lazy[0]} is lazy: run a batch"
            " through the module before, for example in configure_model."
        )
