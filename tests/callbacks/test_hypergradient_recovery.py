"""`HypergradientLR` where training diverges, and where an exception ends it."""

from __future__ import annotations

import math
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_lr import CyclicalLR, HypergradientLR
from lightning_lr.adaptation.displacement import AnchorDisplacement
from lightning_lr.adaptation.flat_params import FlatParams
from lightning_lr.adaptation.measurement import MeasurementQueue
from lightning_lr.adaptation.rules import LongHorizon
from tests.helpers.hypergradient_cases import FaultyLoss, first_group_state, mean_loss
from tests.helpers.recorded_steps import RecordingClassifier, first_group_lrs, fit
from tests.helpers.tiny_models import Classifier, loader

pytestmark = pytest.mark.filterwarnings("ignore:Attribute 'factor' removed from hparams")


def test_goes_back_from_a_loss_that_is_not_finite() -> None:
    torch.manual_seed(0)
    model, adapts = FaultyLoss(lambda step: math.nan if step == 30 else 1.0), HypergradientLR(horizon=20)
    with pytest.warns(UserWarning, match="training with SGD has diverged") as caught:
        fit(model, adapts, data=loader(100), max_epochs=1)
    assert len([each for each in caught if "diverged" in str(each.message)]) == 1
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    assert mean_loss(model) < 0.7 * model.losses[0]
    rates = first_group_lrs(model)
    assert rates[31] == pytest.approx(0.3 * rates[30], rel=0.3)
    assert first_group_state(adapts)["ceiling"] == math.inf  # the rate was not to blame


def test_the_guard_ends_after_three_returns_in_a_row_and_training_goes_on() -> None:
    """As plain training does, to its end."""
    model, adapts = FaultyLoss(lambda step: math.nan if step >= 30 else 1.0), HypergradientLR()
    with (
        pytest.warns(UserWarning, match="has diverged"),
        pytest.warns(UserWarning, match=r"back to good weights 3 times in a row.*diverged again.*goes on") as caught,
    ):
        fit(model, adapts, data=loader(100), max_epochs=1)
    assert len([each for each in caught if "3 times in a row" in str(each.message)]) == 1
    assert len(model.losses) == 100
    assert not any(parameter.isfinite().all() for parameter in model.parameters())
    assert adapts.state_dict()["progress"][0]["guard_ended"]


def _told_to_rules(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    told: list[float] = []
    update = LongHorizon.update

    def record(rule: LongHorizon, *args: Any) -> float:
        told.append(args[0].cosine)
        return update(rule, *args)

    monkeypatch.setattr(LongHorizon, "update", record)
    return told


@pytest.mark.filterwarnings("ignore:HypergradientLR. training with SGD has diverged")
@pytest.mark.parametrize("every", [1, "auto"])
def test_after_a_return_the_rule_is_told_nothing_until_a_step_is_made(every: Any, monkeypatch: Any) -> None:
    told = _told_to_rules(monkeypatch)
    torch.manual_seed(0)
    model, adapts = FaultyLoss(lambda step: math.nan if step == 30 else 1.0), HypergradientLR(horizon=20, every=every)
    fit(model, adapts, data=loader(60), max_epochs=1)
    assert adapts.state_dict()["progress"][0]["watch"]["returns"] == 1
    assert len(told) > 30
    assert 1.0 not in told[5:]


@pytest.mark.parametrize("every", [1, "auto"])
def test_the_anchor_is_set_once(every: Any, monkeypatch: Any) -> None:
    """And the rule is told of every measurement, also on a schedule that falls steeply."""
    told, set_anchor, anew = _told_to_rules(monkeypatch), AnchorDisplacement.set_anchor, []

    def record(anchor: AnchorDisplacement, params: FlatParams) -> None:
        anew.append(params in anchor._anchors)
        set_anchor(anchor, params)

    monkeypatch.setattr(AnchorDisplacement, "set_anchor", record)
    torch.manual_seed(0)
    fit(FaultyLoss(lambda _: 1.0), HypergradientLR(horizon=20, every=every), CyclicalLR(1e-5, 1e-2, 10))
    assert anew == [False]
    assert len(told) >= (38 if every == 1 else 15)
    assert 1.0 not in told[5:]


def test_every_return_is_told() -> None:
    """Also where Python shows the same text once."""
    model = FaultyLoss(lambda step: math.nan if step % 150 == 140 else 1.0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        fit(model, HypergradientLR(horizon=20), data=loader(320), max_epochs=1)
    assert len([each for each in caught if "has diverged" in str(each.message)]) == 2


def test_without_guard_it_trains_on() -> None:
    model = FaultyLoss(lambda step: math.nan if step == 30 else 1.0)
    fit(model, HypergradientLR(guard=False))
    assert math.isnan(model.losses[-1])


def test_one_bad_loss_takes_it_back_once() -> None:
    """With sparse measurements too, which take the bad one with them."""
    torch.manual_seed(0)
    model, adapts = FaultyLoss(lambda step: math.nan if step == 61 else 1.0), HypergradientLR(horizon=20, every=5)
    with pytest.warns(UserWarning, match="training with SGD has diverged"):
        fit(model, adapts, data=loader(80), max_epochs=1)
    rates = first_group_lrs(model)
    falls = [t for t in range(55, 79) if rates[t + 1] < 0.4 * rates[t]]
    assert len(falls) == 1
    assert adapts.state_dict()["progress"][0]["watch"]["returns"] == 1


def test_running_statistics_come_back() -> None:
    """One batch that is not finite would leave BatchNorm with statistics that are not, for the rest of the run."""

    class BadBatch(RecordingClassifier):
        def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
            x, y = batch
            return super().training_step((x * math.inf if batch_idx == 30 else x, y), batch_idx)

    torch.manual_seed(0)
    model = BadBatch()
    with pytest.warns(UserWarning, match="training with SGD has diverged"):
        fit(model, HypergradientLR(horizon=20), data=loader(100), max_epochs=1)
    assert all(buffer.isfinite().all() for buffer in model.backbone.buffers())
    assert model.eval().backbone(torch.ones(2, 6)).isfinite().all()


class BadGradients(RecordingClassifier):
    """The loss is finite and its gradients are not, in the first steps."""

    def __init__(self, bad: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.bad, self.steps = bad, 0

    def on_after_backward(self) -> None:
        self.steps += 1
        if self.steps <= self.bad:
            for parameter in self.parameters():
                parameter.grad = torch.full_like(parameter, math.nan)


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_begins_when_the_first_gradients_are_finite(optimizer: str) -> None:
    model, adapts = BadGradients(3, optimizer=optimizer), HypergradientLR()
    fit(model, adapts, data=loader(100), max_epochs=1)
    assert mean_loss(model) < 0.7 * model.losses[0]


def test_gradients_that_are_never_finite_are_an_error() -> None:
    with pytest.raises(RuntimeError, match="the first 10 steps of SGD have all led to parameters that are not finite"):
        fit(BadGradients(100), HypergradientLR(), data=loader(100), max_epochs=1)


def test_returns_that_are_far_apart_are_not_in_a_row_without_a_loss_too() -> None:
    class Silent(Classifier):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False
            self.backbone[1] = torch.nn.Identity()

        def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Any:
            optimizer: Any = self.optimizers()
            loss = super().training_step(batch, batch_idx)
            optimizer.zero_grad()
            self.manual_backward(loss * (math.nan if batch_idx % 150 == 140 else 1.0))
            optimizer.step()

    model = Silent()
    with pytest.warns(UserWarning, match="training with SGD has diverged"):
        fit(model, HypergradientLR(horizon=20), data=loader(700), max_epochs=1)
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_an_exception_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """By another one, of a device that is lost; and what was hooked in is let go."""

    class Fails(RecordingClassifier):
        def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
            if batch_idx == 10:
                raise ValueError("of the user")
            return super().training_step(batch, batch_idx)

    def lost(self: MeasurementQueue) -> Any:
        raise RuntimeError("device-side assert")

    monkeypatch.setattr(MeasurementQueue, "state", lost)
    model, adapts = Fails(), HypergradientLR()
    with pytest.raises(ValueError, match="of the user"):
        fit(model, adapts)
    optimizer: Any = model.trainer.optimizers[0]
    assert len(optimizer._optimizer_step_post_hooks) == 0
    monkeypatch.undo()
    again = RecordingClassifier()
    fit(again, adapts)
    assert len(first_group_lrs(again)) == 40
