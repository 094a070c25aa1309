"""`HypergradientLR` where training diverges, and where an exception ends it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_lr import CyclicalLR, HypergradientLR
from lightning_lr.adaptation.async_reads import AsyncReads
from lightning_lr.adaptation.displacement import AnchorDisplacement
from lightning_lr.adaptation.flat_params import FlatParams
from lightning_lr.adaptation.rules import LongHorizon
from tests.helpers.hypergradient_cases import FaultyLoss, first_group_state, mean_loss
from tests.helpers.lightning_classes import Callback
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
    assert first_group_state(adapts)["rule"]["turns"] >= 3
    assert first_group_state(adapts)["ceiling"] == math.inf  # the rate was not to blame


def test_the_guard_ends_after_three_returns_in_a_row_and_training_goes_on() -> None:
    """As plain training does, to its end."""
    model, adapts = FaultyLoss(lambda step: math.nan if step >= 30 else 1.0), HypergradientLR()
    with (
        pytest.warns(UserWarning, match="has diverged"),
        pytest.warns(UserWarning, match=r"back to good weights 3 times in a row.*goes on.*guard=False") as caught,
    ):
        fit(model, adapts, data=loader(100), max_epochs=1)
    assert len([each for each in caught if "3 times in a row" in str(each.message)]) == 1
    assert len(model.losses) == 100
    assert not any(parameter.isfinite().all() for parameter in model.parameters())
    assert adapts.state_dict()["progress"][0]["guard_ended"]


@pytest.mark.filterwarnings("ignore:HypergradientLR. training with SGD has diverged")
@pytest.mark.filterwarnings("ignore:HypergradientLR has taken training")
def test_a_term_that_grows_does_not_end_the_run() -> None:
    """It has no gradient: the loss rises, and the parameters are fine."""

    class Grows(FaultyLoss):
        def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
            return super().training_step(batch, batch_idx) + 0.05 * max(0, batch_idx - 60)

    torch.manual_seed(0)
    model, adapts = Grows(lambda _: 1.0), HypergradientLR(horizon=20)
    fit(model, adapts, data=loader(400), max_epochs=1)
    assert adapts.state_dict()["progress"][0]["guard_ended"]
    assert len(model.losses) == 400
    assert mean_loss(model) < 0.7 * model.losses[0]  # without the term


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
def test_after_a_new_anchor_the_rule_is_told_nothing_until_a_step_is_made(every: Any, monkeypatch: Any) -> None:
    """A schedule that falls steeply sets anchors anew."""
    told, set_anchor, anew = _told_to_rules(monkeypatch), AnchorDisplacement.set_anchor, []

    def record(anchor: AnchorDisplacement, params: FlatParams) -> None:
        anew.append(params in anchor._anchors)
        set_anchor(anchor, params)

    monkeypatch.setattr(AnchorDisplacement, "set_anchor", record)
    torch.manual_seed(0)
    fit(FaultyLoss(lambda _: 1.0), HypergradientLR(horizon=20, every=every), CyclicalLR(1e-5, 1e-2, 10))
    assert any(anew)
    assert len(told) > 30
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


@pytest.mark.parametrize("every", [1, 20])
def test_every_loss_is_watched_however_sparse_the_measurements(every: int) -> None:
    """So it shows within 10 steps, until the next measurement, not after 10 measurements."""
    torch.manual_seed(0)

    class Forgets(RecordingClassifier):
        def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
            x, y = batch
            return super().training_step((x, (y + 1) % 3 if 100 <= batch_idx < 140 else y), batch_idx)

    model, adapts = Forgets(), HypergradientLR(horizon=20, every=every)
    with pytest.warns(UserWarning, match="training with SGD has diverged"):
        fit(model, adapts, data=loader(141), max_epochs=1)
    assert adapts.state_dict()["progress"][0]["watch"]["returns"] >= 1
    falls = [t for t in range(100, 140) if first_group_lrs(model)[t + 1] < 0.4 * first_group_lrs(model)[t]]
    assert falls
    assert falls[0] <= 100 + 10 + 6 + every


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
def test_half_of_the_rate_that_was_used_is_the_most_from_then_on(adapts_first: bool) -> None:
    """Whatever the groups hold then: a schedule that comes first has set the coming step already."""
    torch.manual_seed(0)
    model = FaultyLoss(lambda step: 1.0 if step < 80 else 50.0, keeps_norm=True, lr=1e-5)
    adapts, cycle = HypergradientLR(horizon=20, every=1), CyclicalLR(1e-5, 2e-5, 10)
    order: list[Callback] = [adapts, cycle] if adapts_first else [cycle, adapts]
    with pytest.warns(UserWarning, match="training with SGD has diverged"):
        fit(model, *order, data=loader(100), max_epochs=1)
    rates = first_group_lrs(model)
    back = next(t for t in range(80, 100) if rates[t] < 0.4 * rates[t - 1])
    assert rates[back - 1] > 1e-3
    assert first_group_state(adapts)["ceiling"] == pytest.approx(0.5 * rates[back - 1], rel=0.2)


def step_by_hand(module: Classifier, loss: Tensor) -> None:
    optimizer: Any = module.optimizers()
    optimizer.zero_grad()
    module.manual_backward(loss)
    optimizer.step()


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
    """With a guard and without; not where it is not known."""
    told: list[str] = []
    update = LongHorizon.update

    def record(rule: LongHorizon, *args: Any) -> float:
        told.append(args[3].loss_trend)
        return update(rule, *args)

    monkeypatch.setattr(LongHorizon, "update", record)
    torch.manual_seed(0)
    fit(
        kind(lambda step: 1.0 if step < 60 else 8.0), HypergradientLR(horizon=20, every=1, guard=guard), data=loader(50)
    )
    assert "falling" in told[:40]
    assert "risen" not in told[:55]
    assert "risen" in told[58:66]
    if kind is Manual:
        assert set(told[72:]) == {"flat"}


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
    latest = adapts.state_dict()["progress"][0]["watch"]["latest"]
    assert len(latest) == 16
    assert latest == pytest.approx(model.losses[10:26], rel=1e-6)


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

    def lost(self: AsyncReads[Any]) -> Any:
        raise RuntimeError("device-side assert")

    monkeypatch.setattr(AsyncReads, "state", lost)
    model, adapts = Fails(), HypergradientLR()
    with pytest.raises(ValueError, match="of the user"):
        fit(model, adapts)
    optimizer: Any = model.trainer.optimizers[0]
    assert len(optimizer._optimizer_step_post_hooks) == 0
    monkeypatch.undo()
    again = RecordingClassifier()
    fit(again, adapts)
    assert len(first_group_lrs(again)) == 40
