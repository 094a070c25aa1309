"""A sweep of `LRRangeTest` finds its own range: it goes on below ``min_lr`` and beyond ``max_lr``."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_lr import LRRangeTest
from tests.helpers.lightning_classes import LightningModule, seed_everything
from tests.helpers.lr_finder_runs import fit
from tests.helpers.tiny_models import Classifier, quiet_trainer

pytestmark = pytest.mark.filterwarnings("ignore:LRRangeTest is not confident")


class RawRegression(LightningModule):
    """A linear regression on features that are not scaled. The best learning rate is about ``0.1 / scale^2``."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(8, 1)
        self.losses: list[float] = []

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        loss = nn.functional.mse_loss(self.net(x).squeeze(1), y)
        self.losses.append(loss.item())
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 1e-3, momentum=0.9)


def raw_features(scale: float) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(0)
    x = scale * torch.randn(320, 8, generator=generator)
    y = x @ torch.randn(8, generator=generator) + 3
    return DataLoader(TensorDataset(x, y), 16, shuffle=True)


@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize("scale", [1e3, 1e5])
def test_goes_on_below_min_lr_where_the_loss_changes_at_once(
    scale: float, verify: bool, caplog: pytest.LogCaptureFixture
) -> None:
    seed_everything(0)
    model, test = RawRegression(), LRRangeTest(verify=verify)
    with caplog.at_level("INFO"):
        quiet_trainer(callbacks=[test], max_epochs=5).fit(model, raw_features(scale))
    assert test.result is not None
    assert test.result.curve.lrs[0] < 2e-11
    assert "the loss changes from lr=1e-07 on, so the sweep is run again from 1e-11" in caplog.text
    assert test.result.max_lr < 1 / scale**2
    assert sum(model.losses[-20:]) / 20 < 0.01 * model.losses[0]


@pytest.mark.parametrize("scale", [1.0, 1e3, 1e5, 1e7])
def test_reasons_do_not_contradict_each_other(scale: float) -> None:
    """A loss that only rises is not told to raise ``max_lr``."""
    seed_everything(0)
    test = LRRangeTest(verify=False, apply=False)
    quiet_trainer(callbacks=[test], max_epochs=1).fit(RawRegression(), raw_features(scale))
    assert test.result is not None
    reasons = " ".join(test.result.reasons)
    assert not ("improved by only -" in reasons and "no divergence" in reasons)
    assert test.result.confident == (reasons == "")


def test_goes_on_beyond_max_lr_where_the_loss_still_falls(caplog: pytest.LogCaptureFixture) -> None:
    seed_everything(0)
    test = LRRangeTest(max_lr=1e-3, verify=False)
    with caplog.at_level("INFO"):
        fit(Classifier(lr=1e-3), test, max_epochs=1)
    assert test.result is not None
    lrs = test.result.curve.lrs
    assert 1e-3 < test.result.lr < 1
    assert 1e-3 < lrs[-1] <= 11
    assert "the loss still fell at max_lr, so the sweep went on to" in caplog.text
    assert (lrs[1:] / lrs[:-1]).tolist() == pytest.approx([lrs[1] / lrs[0]] * (len(lrs) - 1))


def test_the_trials_of_a_sweep_that_ends_too_low_find_a_higher_rate() -> None:
    seed_everything(0)
    test = LRRangeTest(max_lr=1e-3)
    fit(Classifier(lr=1e-3), test)
    assert test.result is not None
    assert test.result.lr > 3e-3


@pytest.mark.parametrize(
    "arguments",
    [
        {"mode": "linear", "min_lr": 1e-4, "max_lr": 1e-3},
        {"lrs": [1e-4 * i for i in range(1, 21)]},
        {"steps_per_lr": 2, "min_lr": 1e-4, "max_lr": 1e-3},
    ],
    ids=["linear", "own list", "staircase"],
)
def test_a_range_that_was_chosen_is_kept(arguments: dict[str, Any]) -> None:
    test = LRRangeTest(**{"num_steps": 40, **arguments}, verify=False)
    fit(Classifier(), test, max_epochs=1)
    assert test.result is not None
    assert test.result.curve.lrs[-1] <= 2e-3 * (1 + 1e-9)
    assert test.result.curve.lrs[0] == pytest.approx(1e-4)


@pytest.mark.parametrize("mostly", ["too high", "too low"])
def test_a_narrow_range_is_left_in_few_steps(mostly: str) -> None:
    seed_everything(0)
    model = RawRegression()
    min_lr = 0.5 if mostly == "too high" else 1e-3
    test = LRRangeTest(min_lr=min_lr, max_lr=1.1 * min_lr, verify=False)
    quiet_trainer(callbacks=[test], max_epochs=1).fit(model, raw_features(1.0))
    assert test.result is not None
    lrs = test.result.curve.lrs
    assert len(lrs) <= 401
    assert len(model.losses) <= 1000
    assert lrs[0] < 1e-4 if mostly == "too high" else lrs[-1] > 1e-2
