"""The displacement of the last step, from the state that optimizers keep anyway."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

from lightning_lr.adaptation.displacement import AnchorDisplacement, Displacement
from lightning_lr.adaptation.flat_params import FlatParams

_HYPERPARAMETERS = "lr", "weight_decay", "momentum", "betas"


class LastStepDisplacement:
    """The displacement ``d = θ_t-1 - θ_t`` of the last step of SGD, Adam or AdamW.

    With u the direction that the optimizer has in its state, α the learning rate that was used, and λ the weight decay
    that is not in u, the step was ``θ_t = θ_t-1 - α (u + λ θ_t-1)``, so that::

        d = α (u + λ θ_t) / (1 - α λ)

        u = m̂ / (√v̂ + ε)       Adam; AdamW with λ; v̂ is the maximum so far with amsgrad
        u = momentum_buffer     SGD with momentum
        u = g_t-1               SGD, with λ
        u = g_t-1 + μ momentum_buffer   Nesterov, with λ

    Only the last two need extra memory: they hold the last gradients. These are not copied, unless the next gradients
    are written over them, as with ``zero_grad(set_to_none=False)`` or in buckets of DDP.

    Args:
        optimizer: of exactly one of ``SUPPORTED``.
    """

    SUPPORTED = (SGD, Adam, AdamW)

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer
        self._used: list[dict[str, Any]] = []  # hyperparameters of the groups in the last step
        self._moved: set[Tensor] = set()
        self._gradients: dict[Tensor, Tensor] = {}
        self._must_copy = False

    def vector(self, params: FlatParams) -> Tensor | None:
        group = params.group
        i = next((i for i, other in enumerate(self._optimizer.param_groups) if other is group), None)
        if i is None or i >= len(self._used):
            return None
        used = self._used[i]
        lr: float | Tensor = used["lr"]
        decay = float(used["weight_decay"])
        moved = [parameter if parameter in self._moved else None for parameter in params.parameters]
        if not isinstance(self._optimizer, SGD):
            direction = self._adam_direction(params, moved, used["betas"])
            if not (isinstance(self._optimizer, AdamW) or group.get("decoupled_weight_decay", False)):
                decay = 0.0
        elif used["momentum"] != 0 and not group["nesterov"]:
            direction, decay = params.flatten(self._state_of(moved, "momentum_buffer")), 0.0
        elif self._gradients_were_overwritten(moved):
            self._must_copy = True
            return None
        else:
            direction = params.flatten([None if p is None else self._gradients[p] for p in moved])
            if group["maximize"]:
                direction = -direction
            if group["nesterov"]:
                direction = direction + used["momentum"] * params.flatten(self._state_of(moved, "momentum_buffer"))
        if decay == 0:
            return direction * lr
        if not isinstance(lr, Tensor) and lr * decay == 1:
            return None  # θ_t does not depend on θ_t-1
        return (direction + decay * params.flatten(moved)) * (lr / (1 - lr * decay))

    def begin(self, params: FlatParams) -> None:
        pass

    def follow(self, params: FlatParams, d: Tensor, square: Tensor, is_allowed: Tensor, steps: int) -> None:
        pass

    def after_step(self) -> None:
        groups = self._optimizer.param_groups
        self._used = [{key: _copy(group[key]) for key in _HYPERPARAMETERS if key in group} for group in groups]
        parameters = [parameter for group in groups for parameter in group["params"]]
        self._moved = {parameter for parameter in parameters if parameter.grad is not None}
        if self._needs_gradients():
            gradients = {parameter: parameter.grad for parameter in self._moved}
            self._gradients = {p: g.clone() if self._must_copy else g for p, g in gradients.items() if g is not None}

    def state(self, positions: dict[Tensor, int]) -> dict[str, Any]:
        return {
            "used": [{key: _plain(value) for key, value in used.items()} for used in self._used],
            "moved": sorted(positions[parameter] for parameter in self._moved),
            "gradients": {
                positions[parameter]: gradient.clone()
                for parameter, gradient in self._gradients.items()
                if not hasattr(gradient, "to_local")
            },
        }

    def load_state(self, state: dict[str, Any], parameters: Sequence[Tensor], flat: Sequence[FlatParams]) -> None:  # noqa: ARG002
        self._used = state["used"]
        self._gradients = {parameters[i]: g.to(parameters[i].device) for i, g in state["gradients"].items()}
        self._moved = {parameters[i] for i in state["moved"]}
        if self._needs_gradients() and not self._moved <= self._gradients.keys():
            self._used = []  # the gradients were sharded, so they are not in the checkpoint

    def _needs_gradients(self) -> bool:
        groups = self._optimizer.param_groups
        return isinstance(self._optimizer, SGD) and any(g["nesterov"] or g["momentum"] == 0 for g in groups)

    def _adam_direction(
        self, params: FlatParams, moved: list[Tensor | None], betas: Sequence[float | Tensor]
    ) -> Tensor:
        group = params.group
        beta1, beta2 = (float(beta) for beta in betas)
        squares = params.flatten(self._state_of(moved, "max_exp_avg_sq" if group["amsgrad"] else "exp_avg_sq"))
        steps = [None if step is None else _number(step) for step in self._state_of(moved, "step")]
        correction1 = params.expand([None if step is None else 1 - beta1**step for step in steps])
        correction2 = params.expand([None if step is None else 1 - beta2**step for step in steps])
        direction = params.flatten(self._state_of(moved, "exp_avg")) / correction1
        return direction.div_((squares / correction2).sqrt_().add_(group["eps"]))  # in place, since memory is the cost

    def _state_of(self, moved: list[Tensor | None], key: str) -> list[Tensor | None]:
        return [None if parameter is None else self._optimizer.state[parameter][key] for parameter in moved]

    def _gradients_were_overwritten(self, moved: list[Tensor | None]) -> bool:
        """Whether new gradients are in the memory of the last ones."""
        for parameter in moved:
            kept = None if parameter is None else self._gradients.get(parameter)
            if kept is None or parameter is None or parameter.grad is None or self._must_copy:
                continue
            if _address(kept) == _address(parameter.grad):
                return True
        return False


def last_step_displacement(optimizer: Optimizer) -> Displacement:
    """From the state of the optimizer where that is known to tell it, else from a copy of the parameters."""
    if type(optimizer) in LastStepDisplacement.SUPPORTED:
        return LastStepDisplacement(optimizer)
    return AnchorDisplacement(1)


def _copy(value: Any) -> Any:
    """A copy, since tensors may be written over."""
    if isinstance(value, (tuple, list)):
        return [_copy(each) for each in value]
    return value.clone() if isinstance(value, Tensor) else value


def _plain(value: Any) -> Any:
    return [float(each) for each in value] if isinstance(value, list) else float(value)


def _number(step: Any) -> float | Tensor:
    """A count of steps; a float if that needs no wait for the device, since it is more exact."""
    return step if isinstance(step, Tensor) and step.device.type != "cpu" else float(step)


def _address(tensor: Any) -> int:
    local: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    address: int = local._values().data_ptr() if local.is_sparse else local.untyped_storage().data_ptr()
    return address
