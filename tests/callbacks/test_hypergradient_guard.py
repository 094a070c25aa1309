"""What the guard of `HypergradientLR` takes for a divergence, and what it lets be."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_lr import CyclicalLR, HypergradientLR
from tests.helpers.hypergradient_cases import mean_loss
from tests.helpers.lightning_classes import LightningModule
from tests.helpers.recorded_steps import RecordingClassifier, fit
from tests.helpers.tiny_models import loader

Term = Callable[["Regression", Tensor], Tensor]


class Regression(LightningModule):
    """A small network on noisy data, with a loss that may change as training goes on."""

    def __init__(self, change: Term = lambda _, loss: loss, lr: float = 0.05) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
        self.lr, self.change, self.target_sign = lr, change, 1.0
        self.losses: list[float] = []

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        if self.target_sign < 0 and self.trainer.global_step >= 300:
            y = -y + 1
        loss = self.change(self, nn.functional.mse_loss(self.net(x), y))
        self.losses.append(loss.item())
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), self.lr)


def _data(batches: int) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(16 * batches, 8, generator=generator)
    y = x.sum(1, keepdim=True).sin() + 0.3 * torch.randn(16 * batches, 1, generator=generator)
    return DataLoader(TensorDataset(x, y), 16)


def _ramp(model: Regression, loss: Tensor) -> Tensor:
    """A term without gradient, as of a frozen part."""
    return loss + 0.02 * max(0, model.trainer.global_step - 100)


def _annealed(model: Regression, loss: Tensor) -> Tensor:
    """A penalty whose weight grows, as the divergence term of a VAE."""
    weight = min(1.0, model.trainer.global_step / 400)
    return loss + weight * 20 * sum((p - 0.5).pow(2).sum() for p in model.net[0].parameters()) / 8


@pytest.mark.parametrize("change", [_ramp, _annealed])
def test_a_loss_that_rises_for_a_good_reason_is_no_divergence(change: Term) -> None:
    ends = []
    for guard in (True, False):
        model, adapts = Regression(change), HypergradientLR(guard=guard, max_lr=0.1)  # what the term bears
        fit(model, adapts, data=_data(600), max_epochs=1)  # a warning would be an error
        assert adapts.state_dict()["progress"][0]["watch"]["returns"] == 0
        assert max(model.losses[100:]) > 2 * model.losses[0]
        ends.append(sum(model.losses[-20:]))
    assert ends[0] == pytest.approx(ends[1], rel=0.1)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_switch_of_data_is_no_divergence(seed: int) -> None:
    model, adapts = Regression(), HypergradientLR(max_lr=0.3)  # what the switch bears
    model.target_sign = -1.0
    with torch.no_grad():
        next(model.net.parameters()).add_(0.01 * seed)
    fit(model, adapts, data=_data(500), max_epochs=1)
    assert sum(model.losses[300:310]) > 1.5 * sum(model.losses[290:300])
    assert adapts.state_dict()["progress"][0]["watch"]["returns"] == 0
    assert sum(model.losses[-20:]) < 0.9 * sum(model.losses[300:320])


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize("scheduled", [False, True])
def test_a_healthy_run_is_not_taken_back(scheduled: bool, optimizer: str) -> None:
    """From a learning rate that is far too low, and on cycles."""
    torch.manual_seed(0)
    model, adapts = RecordingClassifier(optimizer=optimizer, lr=1e-5), HypergradientLR()
    fit(model, adapts, *([CyclicalLR(1e-4, 1e-3, 50)] if scheduled else []), data=loader(300), max_epochs=1)
    assert adapts.state_dict()["progress"][0]["watch"]["returns"] == 0
    assert mean_loss(model) < 0.7 * model.losses[0]


class Explodes(Regression):
    """Its parameters are multiplied by a number before a step, as a learning rate that is far too high does."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        if batch_idx == 150:
            with torch.no_grad():
                for parameter in self.parameters():
                    parameter.mul_(self.factor)
        return super().training_step(batch, batch_idx)


@pytest.mark.parametrize("factor", [100.0, 1e6, 1e30])
def test_parameters_that_have_gone_are_taken_back(factor: float) -> None:
    """Finite ones, whose learning rate is to blame, and those whose loss is not finite."""
    model, adapts = Explodes(factor), HypergradientLR()
    with pytest.warns(UserWarning, match="training with SGD has diverged"):
        fit(model, adapts, data=_data(300), max_epochs=1)
    assert adapts.state_dict()["progress"][0]["watch"]["returns"] == 0  # forgotten after 100 calm steps
    assert max(model.losses[150:152]) > 1e3
    assert sum(model.losses[-50:]) < 1.1 * sum(model.losses[90:140])


def test_without_a_guard_they_stay_where_they_are() -> None:
    model = Explodes(1e6)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", message="You defined")
        fit(model, HypergradientLR(guard=False), data=_data(300), max_epochs=1)
    assert not sum(model.losses[-50:]) < 1.1 * sum(model.losses[90:140])
