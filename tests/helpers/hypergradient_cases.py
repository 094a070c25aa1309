"""Models and callbacks that several tests of `HypergradientLR` train with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lightning_lr import HypergradientLR
from tests.helpers.recorded_steps import Recorded
from tests.helpers.tiny_models import Classifier

RULES: dict[str, Callable[..., HypergradientLR]] = {
    "long_horizon": lambda **kwargs: HypergradientLR(horizon=20, **kwargs),
    "multiplicative": lambda **kwargs: HypergradientLR("multiplicative", 0.1, **kwargs),
    "additive": lambda **kwargs: HypergradientLR("additive", 1e-3, **kwargs),
}


class Breaks(Recorded):
    """Some losses are not finite, as told by a function of the step."""

    def __init__(self, factor: Callable[[int], float], keeps_norm: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor, self.steps = factor, 0
        if not keeps_norm:
            self.backbone[1] = torch.nn.Identity()

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        self.steps += 1
        return loss * self.factor(self.steps)


def plain(optimizer: str = "SGD") -> Recorded:
    """Without dropout, so that a run depends on nothing but its state."""
    torch.manual_seed(0)
    name, momentum = ("SGD", 0.0) if optimizer == "plain SGD" else (optimizer, 0.9)
    model = Recorded(optimizer=name, momentum=momentum)
    model.backbone[3] = torch.nn.Identity()
    return model


def unit(callback: HypergradientLR) -> Any:
    """The state of its first scale at the end."""
    return callback.state_dict()["progress"][0]["adaptation"]["units"][0]


def mean_loss(model: Classifier) -> float:
    """At the end."""
    return sum(model.losses[-20:]) / 20
