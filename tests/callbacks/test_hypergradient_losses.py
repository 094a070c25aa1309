"""Losses that `HypergradientLR` watches: every one of them, and what they say of the learning rate."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from lightning_lr import CyclicalLR, HypergradientLR
from lightning_lr.adaptation.rules import LongHorizon, LossState
from tests.helpers.hypergradient_cases import FaultyLoss, first_group_state, step_by_hand
from tests.helpers.lightning_classes import Callback, LightningModule
from tests.helpers.recorded_steps import first_group_lrs, fit
from tests.helpers.tiny_models import Classifier, loader

pytestmark = pytest.mark.filterwarnings("ignore:Attribute 'factor' removed from hparams")


@pytest.mark.parametrize("every", [1, 20])
def test_every_loss_is_watched_however_sparse_the_measurements(every: int) -> None:
    """So an explosion shows within a few steps, or at the next measurement, not after several measurements."""
    torch.manual_seed(0)
    model = FaultyLoss(lambda step: 1e4 if 100 < step <= 125 else 1.0, keeps_norm=True)
    adapts = HypergradientLR(horizon=20, every=every, decay=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit(model, adapts, data=loader(160), max_epochs=1)
    assert adapts.state_dict()["progress"][0]["watch"]["returns"] >= 1
    falls = [t for t in range(1, 159) if first_group_lrs(model)[t + 1] < 0.4 * first_group_lrs(model)[t]]
    assert falls
    assert 100 <= falls[0] <= 100 + 6 + every


@pytest.mark.parametrize("last", [math.nan, 50.0])
@pytest.mark.parametrize("every", [1, 20])
def test_the_first_sign_tells_what_is_to_blame(every: int, last: float) -> None:
    """A rate that was too high is, even if the losses overflow before the next measurement."""
    torch.manual_seed(0)
    model = FaultyLoss(lambda step: 1.0 if step < 50 else 50.0 if step < 62 else last, keeps_norm=True)
    adapts = HypergradientLR(horizon=20, every=every)
    with pytest.warns(UserWarning, match="training with SGD has diverged"):
        fit(model, adapts, data=loader(62), max_epochs=1)
    assert first_group_state(adapts)["ceiling"] < math.inf


@pytest.mark.parametrize("adapts_first", [True, False])
def test_a_share_of_the_rate_that_was_used_is_the_most_from_then_on(adapts_first: bool) -> None:
    """Whatever the groups hold then: a schedule that comes first has set the coming step already."""
    torch.manual_seed(0)
    model = FaultyLoss(lambda step: 1e4 if 90 <= step < 93 else 1.0, keeps_norm=True, lr=1e-3)
    adapts, cycle = HypergradientLR(horizon=20, every=1), CyclicalLR(1e-5, 2e-5, 10)
    order: list[Callback] = [adapts, cycle] if adapts_first else [cycle, adapts]
    with pytest.warns(UserWarning, match="training with SGD has diverged"):
        fit(model, *order, data=loader(100), max_epochs=1)
    rates = first_group_lrs(model)
    back = next(t for t in range(90, 100) if rates[t] < 0.4 * rates[t - 1])
    assert rates[back - 1] > 3e-4
    assert first_group_state(adapts)["ceiling"] == pytest.approx(0.3 * max(rates[:back]), rel=1e-3)


class Manual(FaultyLoss):
    """Says nothing of its loss from step 70 on."""

    def __init__(self, factor: Callable[[int], float]) -> None:
        super().__init__(factor)
        self.automatic_optimization = False

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        step_by_hand(self, loss)
        return loss if self.steps < 70 else None


@pytest.mark.filterwarnings("ignore:HypergradientLR. training with SGD has diverged")
@pytest.mark.parametrize("kind", [FaultyLoss, Manual])
@pytest.mark.parametrize("guard", [True, False])
def test_the_rule_is_told_how_the_loss_goes(
    guard: bool, kind: type[FaultyLoss], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a guard and without. Where it is no longer known, what was known of it holds."""
    told: list[LossState] = []
    update = LongHorizon.update

    def record(rule: LongHorizon, *args: Any) -> float:
        told.append(args[3])
        return update(rule, *args)

    monkeypatch.setattr(LongHorizon, "update", record)
    torch.manual_seed(0)
    model = kind(lambda step: 1.0 if step < 60 else 50.0)
    fit(model, HypergradientLR(horizon=20, every=1, guard=guard), data=loader(50))
    learned, risen = [state.has_learned for state in told], [state.has_risen for state in told]
    assert learned[0] is False
    assert learned == sorted(learned)  # once is enough
    assert learned[40]
    assert not any(risen[:58])
    assert any(risen[58:66])
    if kind is Manual:
        assert len(set(told[72:])) == 1


def test_without_a_loss_nothing_keeps_the_scale_from_falling(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[LossState] = []
    update = LongHorizon.update

    def record(rule: LongHorizon, *args: Any) -> float:
        told.append(args[3])
        return update(rule, *args)

    monkeypatch.setattr(LongHorizon, "update", record)

    class Silent(Classifier):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False

        def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Any:
            step_by_hand(self, super().training_step(batch, batch_idx))

    fit(Silent(), HypergradientLR(horizon=20))
    assert set(told) == {LossState(has_learned=True, has_risen=False, gain=0.0)}


@pytest.mark.parametrize("every", [1, 100])
def test_the_guard_ends_however_sparse_the_measurements(every: int) -> None:
    """The losses behind a bad one do not pass for calm."""
    torch.manual_seed(0)
    model = FaultyLoss(lambda step: 1.0 if step < 10 else math.nan)
    with (
        pytest.warns(UserWarning, match="3 times in a row"),
        pytest.warns(UserWarning, match="training with SGD has diverged"),
    ):
        fit(model, HypergradientLR(horizon=20, every=every), data=loader(600), max_epochs=1)


def test_losses_are_watched_where_the_next_is_written_to_the_same_place() -> None:
    """As compiled models with graphs do; Lightning copies the loss in automatic optimization only."""

    class SamePlace(Classifier):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False
            self.place = torch.zeros(())

        def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Any:
            loss = super().training_step(batch, batch_idx)
            step_by_hand(self, loss)
            return self.place.copy_(loss.detach())

    model, adapts = SamePlace(), HypergradientLR(horizon=20, every=5)
    fit(model, adapts, data=loader(31), max_epochs=1)
    level = model.losses[0]
    for loss in model.losses[:26]:  # later ones are added at the next measurement
        level += 0.2 * (loss - level)
    assert adapts.state_dict()["progress"][0]["watch"]["level"] == pytest.approx(level, rel=1e-6)


class _HeavyTails(LightningModule):
    """Linear regression with noise that has no mean, so that no loss shows whether it learns."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(16, 1)
        self.rates: list[float] = []

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        self.rates.append(self.trainer.optimizers[0].param_groups[0]["lr"])
        inputs, targets = batch
        return torch.nn.functional.huber_loss(self.layer(inputs), targets)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-4)


def test_the_rate_stays_near_its_best_where_the_loss_is_too_noisy_to_tell() -> None:
    torch.manual_seed(0)
    inputs, weights = torch.randn(8000, 16), torch.randn(16, 1)
    noise = torch.distributions.Cauchy(0.0, 0.5).sample((8000, 1))
    data = DataLoader(TensorDataset(inputs, inputs @ weights + noise), batch_size=16)
    model = _HeavyTails()
    adapts = HypergradientLR(decay=None)
    fit(model, adapts, data=data, max_epochs=1)
    assert not adapts.state_dict()["progress"][0]["watch"]["learned"]
    # mean square error of the weights with constant rates: 0.12 with 0.01, 0.001 with 0.03, 0.007 with 0.3, 0.05 with 1
    assert min(model.rates[300:]) > 0.02
    assert max(model.rates[300:]) < 1
