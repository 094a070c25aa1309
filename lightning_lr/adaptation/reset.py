"""Let an optimizer be as it was before its first step."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from torch import Tensor, nn
from torch.optim import Adagrad, Optimizer


class OptimizerReset:
    """Takes an optimizer's state back to its beginning, where nearly all have none.

    To be made before the first step, and before the state of a checkpoint is loaded, since an optimizer of another make
    that has made its state by then has it copied. Those of torch make none before a step, but for Adagrad, whose first
    state is known.

    Args:
        optimizer: to be reset.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer
        self._first: dict[Tensor, Any] = {}
        if not type(optimizer).__module__.startswith("torch.optim."):
            self._first = {parameter: deepcopy(state) for parameter, state in optimizer.state.items()}

    def __call__(self) -> None:
        """Do it. Learning rates and all else of the groups stay."""
        if not isinstance(self._optimizer, Adagrad):
            self._optimizer.state.clear()
            self._optimizer.state.update({parameter: deepcopy(state) for parameter, state in self._first.items()})
            return
        for group in self._optimizer.param_groups:
            for parameter in group["params"]:
                state = self._optimizer.state[parameter]
                state["step"].zero_()
                state["sum"].fill_(group["initial_accumulator_value"])


def reset_statistics(module: nn.Module) -> None:
    """Begin the running statistics anew in every layer, such as BatchNorm, after training has diverged.

    One batch whose activations are not finite leaves them so for good, and one whose activations are huge for hundreds
    of steps. Good ones come back in some fifty steps.
    """
    for layer in module.modules():
        if getattr(layer, "track_running_stats", False) and hasattr(layer, "reset_running_stats"):
            layer.reset_running_stats()  # type: ignore[operator]
