"""The movement of the last step, from the state that optimizers keep anyway."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

from lightning_lr.adaptation.displacement import Measured
from lightning_lr.adaptation.flat_params import Piece

Vectors = list[Tensor | None]

_USED = "lr", "weight_decay", "momentum", "betas"


class LastStep:
    """The movement ``d = θ_t-1 - θ_t`` of the last step of SGD, Adam or AdamW, see `Movement`.

    With u the direction that the optimizer has in its state, α the learning rate that was used, and λ the weight decay
    that is not in u, the step was ``θ_t = θ_t-1 - α (u + λ θ_t-1)``, so that::

        d = α (u + λ θ_t) / (1 - α λ)

        u = m̂ / (√v̂ + ε)       Adam; AdamW with λ; v̂ the highest so far with amsgrad
        u = momentum_buffer     SGD with momentum
        u = g_t-1               SGD, with λ
        u = g_t-1 + μ momentum_buffer   Nesterov's, with λ

    Only the last two need anything of their own: the last gradients are held. This costs no copy as long as
    ``zero_grad`` lets go of them, and one where the next gradients are written over them.

    Args:
        optimizer: of exactly one of ``KINDS``.
    """

    KINDS = (SGD, Adam, AdamW)

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer
        self._used: list[dict[str, Any]] = []  # hyperparameters of groups, as the last step used them
        self._moved: set[Tensor] = set()
        self._gradients: dict[Tensor, Tensor] = {}
        self._must_copy = False

    def of(self, piece: Piece) -> Tensor | None:
        group = piece.group
        i = next((i for i, other in enumerate(self._optimizer.param_groups) if other is group), None)
        if i is None or i >= len(self._used):
            return None
        used = self._used[i]
        lr: float | Tensor = used["lr"]
        decay = float(used["weight_decay"])
        moved = [parameter if parameter in self._moved else None for parameter in piece.parameters]
        if not isinstance(self._optimizer, SGD):
            direction = self._adam(piece, moved, used["betas"])
            if not (isinstance(self._optimizer, AdamW) or group.get("decoupled_weight_decay", False)):
                decay = 0.0
        elif used["momentum"] != 0 and not group["nesterov"]:
            direction, decay = piece.flat(self._kept("momentum_buffer", moved)), 0.0
        elif self._are_overwritten(moved):
            self._must_copy = True
            return None
        else:
            direction = piece.flat([None if p is None else self._gradients[p] for p in moved])
            if group["maximize"]:
                direction = -direction
            if group["nesterov"]:
                direction = direction + used["momentum"] * piece.flat(self._kept("momentum_buffer", moved))
        if decay == 0:
            return direction * lr
        if not isinstance(lr, Tensor) and lr * decay == 1:
            return None  # nothing of where it came from is left in θ_t
        return (direction + decay * piece.flat(moved)) * (lr / (1 - lr * decay))

    def before_step(self, piece: Piece, measured: Measured | None) -> None:
        pass

    def after_step(self) -> None:
        groups = self._optimizer.param_groups
        self._used = [{key: _as_it_is(group[key]) for key in _USED if key in group} for group in groups]
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

    def load_state(self, state: dict[str, Any], parameters: Sequence[Tensor], parts: Sequence[Piece]) -> None:  # noqa: ARG002
        self._used = state["used"]
        self._gradients = {parameters[i]: g.to(parameters[i].device) for i, g in state["gradients"].items()}
        self._moved = {parameters[i] for i in state["moved"]}
        if self._needs_gradients() and not self._moved <= self._gradients.keys():
            self._used = []  # a shard of each gradient is lost

    def _needs_gradients(self) -> bool:
        groups = self._optimizer.param_groups
        return isinstance(self._optimizer, SGD) and any(g["nesterov"] or g["momentum"] == 0 for g in groups)

    def _adam(self, piece: Piece, moved: list[Tensor | None], betas: Sequence[float | Tensor]) -> Tensor:
        group = piece.group
        first, second = (float(beta) for beta in betas)
        squares = piece.flat(self._kept("max_exp_avg_sq" if group["amsgrad"] else "exp_avg_sq", moved))
        steps = [None if step is None else _number(step) for step in self._kept("step", moved)]
        mean_correction = piece.spread([None if step is None else 1 - first**step for step in steps])
        square_correction = piece.spread([None if step is None else 1 - second**step for step in steps])
        mean = piece.flat(self._kept("exp_avg", moved)) / mean_correction
        direction: Tensor = mean / ((squares / square_correction).sqrt() + group["eps"])
        return direction

    def _kept(self, key: str, moved: list[Tensor | None]) -> Vectors:
        return [None if parameter is None else self._optimizer.state[parameter][key] for parameter in moved]

    def _are_overwritten(self, moved: list[Tensor | None]) -> bool:
        """Whether new gradients stand where the last ones stood, as in buckets of DDP."""
        for parameter in moved:
            kept = None if parameter is None else self._gradients.get(parameter)
            if kept is None or parameter is None or parameter.grad is None or self._must_copy:
                continue
            if _address(kept) == _address(parameter.grad):
                return True
        return False


def _as_it_is(value: Any) -> Any:
    """A value that stays when a tensor is written over."""
    if isinstance(value, (tuple, list)):
        return [_as_it_is(each) for each in value]
    return value.clone() if isinstance(value, Tensor) else value


def _plain(value: Any) -> Any:
    return [float(each) for each in value] if isinstance(value, list) else float(value)


def _number(step: Any) -> float | Tensor:
    """A count of steps, as exact as can be without waiting for the device."""
    return step if isinstance(step, Tensor) and step.device.type != "cpu" else float(step)


def _address(tensor: Any) -> int:
    local: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    address: int = local._values().data_ptr() if local.is_sparse else local.untyped_storage().data_ptr()
    return address
