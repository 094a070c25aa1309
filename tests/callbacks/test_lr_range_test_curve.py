"""The curve that `LRRangeTest` records: which learning rates, and which loss or metric at each."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lightning_lr import LRRangeTest
from tests.helpers.lightning_classes import seed_everything
from tests.helpers.lr_finder_runs import LossIsBatchNumber, fit
from tests.helpers.tiny_models import Classifier, LogsLoss, loader, quiet_trainer

UNSURE = "ignore:LRRangeTest is not confident"
pytestmark = pytest.mark.filterwarnings(UNSURE)


def test_records_the_loss_that_plain_training_with_these_rates_has() -> None:
    """A naive loop in torch alone gives the same curve."""
    seed_everything(0)
    model = Classifier(lr=0.5, backbone_ratio=0.1)
    reference = Classifier(lr=0.5, backbone_ratio=0.1)
    for each in (model, reference):
        each.backbone[3] = nn.Identity()  # no dropout: the two loops draw other random numbers
    reference.load_state_dict(model.state_dict())
    test = LRRangeTest(min_lr=1e-3, max_lr=1.0, num_steps=30, verify=False)
    seed_everything(3)
    trainer = quiet_trainer(callbacks=[test], max_epochs=1)
    torch.manual_seed(5)
    trainer.fit(model, batches := loader(40))
    assert test.result is not None

    torch.manual_seed(5)
    optimizer = reference.configure_optimizers()
    reference.train()
    expected = []
    for lr, (x, y) in zip(np.geomspace(1e-3, 1.0, 30), batches, strict=False):
        optimizer.param_groups[0]["lr"], optimizer.param_groups[1]["lr"] = lr * 0.1, lr
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(reference.head(reference.backbone(x)), y)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        expected.append(loss.item())
    assert test.result.curve.lrs == pytest.approx(np.geomspace(1e-3, 1.0, 30))
    assert test.result.curve.losses == pytest.approx(expected, rel=1e-5)


def test_a_point_is_an_optimizer_step_and_the_mean_of_its_micro_batches() -> None:
    test = LRRangeTest(lrs=[1e-3 * i for i in range(1, 11)], apply=False, verify=False)
    fit(LossIsBatchNumber(), test, accumulate_grad_batches=3)
    assert test.result is not None
    # 20 batches an epoch: six windows of three, then one of two, then the next epoch
    above_100 = [1.0, 4.0, 7.0, 10.0, 13.0, 16.0, 18.5, 1.0, 4.0, 7.0]
    assert test.result.curve.losses - 100 == pytest.approx(above_100, abs=1e-4)


def test_staircase_and_own_list() -> None:
    stairs = LRRangeTest(min_lr=1e-3, max_lr=1.0, num_steps=30, steps_per_lr=3, apply=False, verify=False)
    fit(Classifier(), stairs)
    own = LRRangeTest(lrs=[0.01 * i for i in range(1, 13)], apply=False, verify=False)
    fit(Classifier(), own)
    assert stairs.result is not None
    assert own.result is not None
    assert stairs.result.curve.lrs == pytest.approx(np.repeat(np.geomspace(1e-3, 1.0, 10), 3))
    assert own.result.curve.lrs == pytest.approx([0.01 * i for i in range(1, 13)])


def test_accuracy_curve_over_several_epochs() -> None:
    """Smith's own test: the validation accuracy while the learning rate rises linearly."""
    test = LRRangeTest(
        1e-3, 0.5, 60, "linear", steps_per_lr=5, monitor="val_acc", monitor_mode="max", eval_batches=2, verify=False
    )
    model = Classifier(lr=1e-3)
    fit(model, test)
    assert test.result is not None
    curve = test.result.curve
    assert len(curve.lrs) == 12
    assert curve.monitor == "val_acc"
    assert curve.losses.min() >= 0
    assert curve.losses.max() > 0.8 > curve.losses[0]
    assert 1e-3 < test.result.lr < 0.5


def test_key_of_the_training_step() -> None:
    test = LRRangeTest(num_steps=20, monitor="train_loss", apply=False, verify=False)
    plain = LRRangeTest(num_steps=20, apply=False, verify=False)
    for each in (test, plain):
        seed_everything(0)
        fit(LogsLoss(), each)
    assert test.result is not None
    assert plain.result is not None
    assert test.result.curve.losses == pytest.approx(plain.result.curve.losses)


class Exploding(Classifier):
    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        return loss * torch.nan if self.optimizers().param_groups[0]["lr"] > 1e-2 else loss  # type: ignore[union-attr]


def test_ends_at_the_first_nan() -> None:
    test = LRRangeTest(1e-5, 10.0, 61, apply=False, verify=False)
    model = Exploding(lr=1e-3)
    fit(model, test)
    assert test.result is not None
    finite = np.isfinite(test.result.curve.losses)
    assert finite[:30].all()
    assert not finite[31:].any()
    assert all(np.isfinite(value) for value in (test.result.lr, test.result.base_lr, test.result.max_lr))
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


def test_a_loss_that_is_read_every_few_steps_gives_much_the_same_learning_rate() -> None:
    lrs = []
    for monitor in (None, "train_loss"):
        test = LRRangeTest(num_steps=200, steps_per_lr=10, monitor=monitor, verify=False)
        seed_everything(0, verbose=False)
        fit(LogsLoss(), test)
        assert test.result is not None
        lrs.append(test.result.lr)
    assert 1 / 3 < lrs[1] / lrs[0] < 3
