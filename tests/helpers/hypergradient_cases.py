"""Models and callbacks for the tests of `HypergradientLR`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lightning_lr import HypergradientLR
from tests.helpers.recorded_steps import RecordingClassifier
from tests.helpers.tiny_models import Classifier

RULES: dict[str, Callable[..., HypergradientLR]] = {
    "long_horizon": lambda **kwargs: HypergradientLR(horizon=20, **kwargs),
    "multiplicative": lambda **kwargs: HypergradientLR("multiplicative", 0.1, **kwargs),
    "additive": lambda **kwargs: HypergradientLR("additive", 1e-3, **kwargs),
}


class FaultyLoss(RecordingClassifier):
    """Multiplies its loss by a function of the step, which may give NaN or infinity."""

    def __init__(self, factor: Callable[[int], float], keeps_norm: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor, self.steps = factor, 0
        if not keeps_norm:
            self.backbone[1] = torch.nn.Identity()

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        self.steps += 1
        return loss * self.factor(self.steps)


def without_dropout(optimizer: str = "SGD") -> RecordingClassifier:
    """A model whose run does not depend on random states, which checkpoints do not hold."""
    torch.manual_seed(0)
    name, momentum = ("SGD", 0.0) if optimizer == "plain SGD" else (optimizer, 0.9)
    model = RecordingClassifier(optimizer=name, momentum=momentum)
    model.backbone[3] = torch.nn.Identity()
    return model


def first_group_state(callback: HypergradientLR) -> Any:
    """The saved state of the first optimizer's first scale."""
    return callback.state_dict()["progress"][0]["adaptation"]["units"][0]


def mean_loss(model: Classifier) -> float:
    """Over the last 20 steps."""
    return sum(model.losses[-20:]) / 20


def step_by_hand(module: Classifier, loss: Tensor) -> None:
    optimizer: Any = module.optimizers()
    optimizer.zero_grad()
    module.manual_backward(loss)
    optimizer.step()
