"""Set an optimizer and the running statistics of a model back to their beginning."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from torch import Tensor, nn
from torch.optim import Adagrad, Optimizer


class OptimizerReset:
    """Sets the state of an optimizer back to what it was before the first step.

    Make it before the first step, and before a checkpoint is loaded: the state that an optimizer from outside torch has
    by then is copied. Those of torch have none before a step, but for Adagrad, whose first state is known.

    Args:
        optimizer: to be reset.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer
        self._first: dict[Tensor, Any] = {}
        if not type(optimizer).__module__.startswith("torch.optim."):
            self._first = {parameter: deepcopy(state) for parameter, state in optimizer.state.items()}

    def __call__(self) -> None:
        """Reset the state. Learning rates and all else of the groups stay."""
        if not isinstance(self._optimizer, Adagrad):
            self._optimizer.state.clear()
            self._optimizer.state.update({parameter: deepcopy(state) for parameter, state in self._first.items()})
            return
        for group in self._optimizer.param_groups:
            for parameter in group["params"]:
                state = self._optimizer.state[parameter]
                state["step"].zero_()
                state["sum"].fill_(group["initial_accumulator_value"])


def reset_running_statistics(module: nn.Module) -> None:
    """Reset the running statistics of every layer, such as BatchNorm, after training has diverged.

    One batch whose activations are not finite makes them useless for good, one with huge activations for hundreds of
    steps. After a reset they are good again in about 50 steps.
    """
    for layer in module.modules():
        if getattr(layer, "track_running_stats", False) and hasattr(layer, "reset_running_stats"):
            layer.reset_running_stats()  # type: ignore[operator]
