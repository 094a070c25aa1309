"""Limits of the learning rate with `HypergradientLR`: those that are set, and those of adversarial training."""

from __future__ import annotations

import math
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_lr import CyclicalLR, HypergradientLR, LRRangeTest
from tests.helpers.hypergradient_cases import RULES, step_by_hand
from tests.helpers.lightning_classes import Callback, LightningModule
from tests.helpers.recorded_steps import RecordingClassifier, first_group_lrs, fit
from tests.helpers.schedule_cases import SaveAt
from tests.helpers.tiny_models import ManualWithTwoOptimizers, loader


@pytest.mark.parametrize("scheduled", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_the_highest_rate_is_not_exceeded(rule: str, scheduled: bool) -> None:
    rates = {}
    for max_lr in (None, 2e-3):
        torch.manual_seed(0)
        model, others = RecordingClassifier(lr=1.5e-3), [CyclicalLR(1e-3, 1.9e-3, 10)] if scheduled else []
        fit(model, RULES[rule](max_lr=max_lr), *others, data=loader(100))
        rates[max_lr] = first_group_lrs(model)
    assert max(rates[None]) > 2.1e-3
    assert max(rates[2e-3]) == pytest.approx(2e-3, rel=1e-9)


class TensorRate(RecordingClassifier):
    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), torch.tensor(0.01), foreach=False)
        optimizer.register_step_pre_hook(lambda *_: self.record(optimizer))
        return optimizer


@pytest.mark.parametrize("scheduled", [False, True])
@pytest.mark.parametrize("found", [False, True])
def test_a_rate_on_a_device_does_not_exceed_it(found: bool, scheduled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not read before a step, while a schedule may raise it. Here a tensor stands for a device."""
    monkeypatch.setattr("lightning_lr.adaptation.optimizer_scales.is_on_device", lambda lr: isinstance(lr, Tensor))
    others = [*([CyclicalLR(1e-4, 1e-2, 5)] if scheduled else []), *([_Found()] if found else [])]
    fit(model := TensorRate(), *others, HypergradientLR("multiplicative", max_lr=1e-3))
    assert max(float(lr) for lr in first_group_lrs(model)) == pytest.approx(1e-3)


def test_a_new_limit_holds_in_a_resumed_run(tmp_path: Path) -> None:
    trainer = fit(RecordingClassifier(lr=1e-3), HypergradientLR(max_lr=0.1))
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    model = RecordingClassifier(lr=1e-3)
    with pytest.warns(UserWarning, match=r"resumed with changed arguments.*max_lr: 0.1 -> 0.0011"):
        fit(model, HypergradientLR(max_lr=1.1e-3), ckpt_path=tmp_path / "run.ckpt", max_epochs=6)
    assert max(first_group_lrs(model)) == pytest.approx(1.1e-3)


class _Found(Callback):
    """Tells that the learning rate is good, as a range test does, so that the first step is not shortened."""

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        for callback in trainer.callbacks:
            if isinstance(callback, HypergradientLR):
                callback.restart(trainer.optimizers[0])


@pytest.mark.parametrize("rule", ["long_horizon", "multiplicative"])
def test_the_rule_stops_at_the_lowest_rate(rule: str) -> None:
    """From a learning rate that is too high."""
    rates = {}
    for min_lr in (None, 0.8):
        torch.manual_seed(0)
        model, adapts = RecordingClassifier(lr=1.0), RULES[rule](min_lr=min_lr, decay=None)
        fit(model, _Found(), adapts, data=loader(300), max_epochs=1)
        rates[min_lr] = first_group_lrs(model)
    assert min(rates[None]) < 0.7
    assert min(rates[0.8]) == pytest.approx(0.8, rel=1e-9)


@pytest.mark.parametrize(("freeze_after", "steps"), [(10, 10), ("1ep", 20), ("0.25run", 10)])
def test_the_scale_stays_after_so_many_steps(freeze_after: Any, steps: int) -> None:
    model = RecordingClassifier(lr=1e-4)
    fit(model, HypergradientLR(freeze_after=freeze_after, decay=None))
    rates = first_group_lrs(model)
    assert len(set(rates[:steps])) > 5
    assert len(set(rates[steps:])) == 1


def test_an_epoch_counts_as_one_step_for_each_batch() -> None:
    """In manual optimization, where a batch may have several, which is said."""

    class StepsTwice(RecordingClassifier):
        def __init__(self) -> None:
            super().__init__(lr=1e-4)
            self.automatic_optimization = False

        def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
            for _ in range(2):
                loss = super().training_step(batch, batch_idx)
                step_by_hand(self, loss)
            return loss

    with pytest.warns(UserWarning, match="took an epoch for 20 steps of SGD, one a batch, but it made 40"):
        fit(model := StepsTwice(), HypergradientLR(freeze_after="1ep"))
    rates = first_group_lrs(model)
    assert len(rates) == 80
    assert len(set(rates[:20])) > 5
    assert len(set(rates[20:])) == 1


class Adversarial(LightningModule):
    """Generator and discriminator, each with a backward pass and a step in every batch."""

    def __init__(self, lr: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.automatic_optimization = False
        self.generator, self.discriminator = nn.Linear(6, 6), nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1))
        self.lr = lr
        self.used: list[list[float]] = []

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        pair: Any = self.optimizers()
        self.used.append([optimizer.param_groups[0]["lr"] for optimizer in pair])
        real, fake = batch[0], self.generator(torch.randn_like(batch[0]))
        score = nn.functional.softplus
        self.toggle_optimizer(pair[0])
        self._step(pair[0], score(-self.discriminator(fake)).mean())
        self.untoggle_optimizer(pair[0])
        self.toggle_optimizer(pair[1])
        losses = score(-self.discriminator(real)) + score(self.discriminator(fake.detach()))
        self._step(pair[1], losses.mean())
        self.untoggle_optimizer(pair[1])

    def _step(self, optimizer: Any, loss: Tensor) -> None:
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()

    def configure_optimizers(self) -> Any:
        return [torch.optim.Adam(part.parameters(), self.lr) for part in (self.generator, self.discriminator)]


@pytest.mark.parametrize("lr", [1e-7, 1e-4, 0.01])
@pytest.mark.parametrize("tested", [False, True])
def test_adversarial_training_stays_near_the_rates_that_are_set(tested: bool, lr: float) -> None:
    """Each of the two is told so once, behind a range test too, which starts again."""
    model = Adversarial(lr)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(model, *([_Found()] if tested else []), HypergradientLR(decay=None), data=loader(200), max_epochs=1)
    texts = [str(each.message) for each in caught if "in adversarial training" in str(each.message)]
    assert [text.split()[1] for text in texts] == ["Adam", "Adam-1"]
    settled = model.used[100:]  # the first step is shortened by more
    for i in (0, 1):
        assert all(lr / 3.001 <= used[i] <= 3.001 * lr for used in settled)
        assert len({used[i] for used in model.used}) > 10


class RareDiscriminator(Adversarial):
    """The discriminator steps in every fifth batch only."""

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.steps_both = batch_idx % 5 == 4
        super().training_step(batch, batch_idx)

    def _step(self, optimizer: Any, loss: Tensor) -> None:
        if self.steps_both or optimizer.optimizer is self.trainer.optimizers[0]:
            super()._step(optimizer, loss)


@pytest.mark.filterwarnings("ignore:HypergradientLR. Adam.* steps on its own loss")
@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended")
def test_the_limit_of_players_is_in_the_checkpoint(tmp_path: Path) -> None:
    """Before both have stepped in one batch of the resumed run, nothing else tells of it."""
    whole, resumed, path = RareDiscriminator(1e-5), RareDiscriminator(1e-5), tmp_path / "run.ckpt"
    arguments: dict[str, Any] = {"data": loader(100), "max_epochs": 1}
    fit(whole, HypergradientLR(decay=None), SaveAt(60, path), **arguments)
    assert max(used[0] for used in whole.used[50:]) == pytest.approx(3e-5)
    fit(resumed, HypergradientLR(decay=None), ckpt_path=path, **arguments)
    assert max(used[0] for used in resumed.used) <= 3.001e-5


def test_optimizers_that_share_a_loss_are_not_limited() -> None:
    """As Muon and AdamW do: one backward pass, and a step of each. A warning would be an error."""
    model, adapts = ManualWithTwoOptimizers(), HypergradientLR()
    fit(model, adapts, data=loader(200), max_epochs=1)
    scales = [each["adaptation"]["units"][0]["rule"]["scale"] for each in adapts.state_dict()["progress"]]
    assert any(not 1 / 3 <= scale <= 3 for scale in scales)


@pytest.mark.parametrize("adapts_first", [True, False])
def test_after_a_range_test_the_scale_rises_slowly_from_the_first_step_on(adapts_first: bool) -> None:
    """By at most 3 % a step. Without one, by up to 10 % until training has learned."""
    model, adapts, test = RecordingClassifier(), HypergradientLR(), LRRangeTest(num_steps=40, verify=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit(model, *((adapts, test) if adapts_first else (test, adapts)))
    rates = first_group_lrs(model)
    assert 1 < max(after / before for before, after in pairwise(rates[: len(rates) // 2])) < math.exp(0.0301)
    fit(untested := RecordingClassifier(lr=1e-5), HypergradientLR())
    assert max(after / before for before, after in pairwise(first_group_lrs(untested)[1:])) > math.exp(0.05)
