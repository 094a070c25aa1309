"""Models that a range test or a search must take as they are: that refuse NaN, return no loss, are lazy, and others."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence
from torch.utils.data import DataLoader

from lightning_lr import CyclicalLR, HypergradientLR, LRRangeTest, LRSearch, LRTrace
from tests.helpers.lightning_classes import LightningModule, MisconfigurationException
from tests.helpers.tiny_models import Classifier, loader, quiet_trainer


class RefusesNaN(LightningModule):
    """A variational auto-encoder. ``torch.distributions`` raises a ValueError for parameters that are NaN."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 8))
        self.decoder = nn.Linear(4, 16)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        mean, log_scale = self.encoder(batch).chunk(2, 1)
        posterior = Normal(mean, log_scale.exp())
        error: Tensor = (self.decoder(posterior.rsample()) - batch).square().sum(1).mean()
        divergence: Tensor = kl_divergence(posterior, Normal(torch.zeros_like(mean), 1.0)).sum(1).mean()
        return error + divergence

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(torch.randn(640, 16, generator=torch.Generator().manual_seed(0)), 32)  # type: ignore[arg-type]

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 1e-3)


class RaisesAtStep(Classifier):
    """Raises an error in one of its training steps, whatever the learning rate."""

    def __init__(self, step: int, error: type[Exception]) -> None:
        super().__init__()
        self.step, self.error = step, error

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        if self.global_step == self.step:
            raise self.error("of this step")
        return super().training_step(batch, batch_idx)


class ConstantForBadLoss(RefusesNaN):
    """Replaces a loss that is not finite by a constant, which has no gradient."""

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        loss = (self.decoder(self.encoder(batch)[:, :4].exp()) - batch).square().mean()
        return loss if loss.isfinite() else torch.tensor(1e9)


class ManualWithoutLoss(Classifier):
    """Manual optimization that logs its loss and returns none, as GAN examples do."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:  # type: ignore[override]
        optimizer: Any = self.optimizers()
        loss = super().training_step(batch, batch_idx)
        self.log("my_loss", loss)
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()


class LogsAtEpochEnd(Classifier):
    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        self.log("epoch_loss", loss, on_step=False, on_epoch=True)
        return loss


class LossOfShape1(Classifier):
    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return super().training_step(batch, batch_idx).reshape(1)


class Lazy(Classifier):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.LazyLinear(3)


@pytest.mark.filterwarnings("ignore:LRRangeTest. the sweep ended at .* since training raised ValueError")
@pytest.mark.parametrize("verify", [False, True])
def test_a_range_test_of_a_model_that_refuses_nan(verify: bool) -> None:
    torch.manual_seed(0)
    test = LRRangeTest(verify=verify)
    quiet_trainer(callbacks=[test], max_epochs=1).fit(RefusesNaN())
    assert test.result is not None
    assert 1e-3 < test.result.lr < 0.3
    ran = test.result.curve.num_finite
    assert 3 <= ran < 100  # it ended by an exception, or by a NaN that was read before


def test_a_search_of_a_model_that_refuses_nan() -> None:
    torch.manual_seed(0)
    search = LRSearch(limit_batches=20, budget=1500)
    quiet_trainer(callbacks=[search], max_epochs=1).fit(RefusesNaN())
    assert search.result is not None
    assert 1e-3 < search.result.lr < 0.3
    highest = max(search.result.candidates, key=lambda candidate: candidate.lr)
    assert highest.verdict == "very high"
    assert highest.why.startswith("raised ValueError: Expected parameter")


def test_a_constant_for_a_bad_loss_is_a_divergence() -> None:
    torch.manual_seed(0)
    search = LRSearch(1e-4, 100.0, limit_batches=20)
    quiet_trainer(callbacks=[search], max_epochs=1).fit(ConstantForBadLoss())
    assert search.result is not None
    assert any(candidate.why.startswith("raised ValueError") for candidate in search.result.candidates)


@pytest.mark.parametrize(
    ("step", "error"), [(1, ValueError), (30, MemoryError), (30, KeyError), (30, MisconfigurationException)]
)
@pytest.mark.parametrize("callback", [LRRangeTest(num_steps=60), LRSearch(1e-3, 0.1)], ids=["range test", "search"])
def test_other_errors_end_the_run(callback: Any, step: int, error: type[Exception]) -> None:
    with pytest.raises(error, match="of this step"):
        quiet_trainer(callbacks=[callback]).fit(RaisesAtStep(step, error), loader())


def test_an_error_at_the_lowest_rate_of_a_search_ends_the_run() -> None:
    with pytest.raises(ValueError, match="of this step"):
        quiet_trainer(callbacks=[LRSearch(1e-3, 0.1)]).fit(RaisesAtStep(30, ValueError), loader())


@pytest.mark.filterwarnings("ignore:LRRangeTest is not confident")  # the model has other weights in each run
def test_manual_optimization_without_a_loss_is_refused_soon() -> None:
    model = ManualWithoutLoss()
    with pytest.raises(MisconfigurationException, match=r"returned no loss .* as monitor, for example one of my_loss"):
        quiet_trainer(callbacks=[LRRangeTest()]).fit(model, loader())
    assert len(model.losses) <= 10
    test = LRRangeTest(monitor="my_loss", verify=False, num_steps=40)
    quiet_trainer(callbacks=[test], max_epochs=1).fit(ManualWithoutLoss(), loader())
    assert test.result is not None
    assert test.result.curve.monitor == "my_loss"


@pytest.mark.parametrize("with_validation", [False, True])
def test_a_key_that_is_logged_at_the_end_of_an_epoch(with_validation: bool) -> None:
    """Each value is the mean loss of an epoch of five batches, in which the learning rate is the same."""
    val = loader(3, seed=1) if with_validation else None
    test = LRRangeTest(monitor="epoch_loss", steps_per_lr=5, num_steps=60, verify=False, apply=False)
    model = LogsAtEpochEnd()
    quiet_trainer(callbacks=[test], max_epochs=1).fit(model, loader(5), val)
    assert test.result is not None
    values = test.result.curve.losses
    assert len(set(values.tolist())) == len(values) == 12
    with pytest.raises(MisconfigurationException, match="logs this key at the end of an epoch"):
        quiet_trainer(callbacks=[LRRangeTest(monitor="epoch_loss", steps_per_lr=3, num_steps=60)]).fit(
            LogsAtEpochEnd(), loader(5)
        )


def test_a_loss_of_shape_1_is_a_scalar() -> None:
    results = []
    for kind in (Classifier, LossOfShape1):
        torch.manual_seed(0)
        test = LRRangeTest(num_steps=40, verify=False)
        quiet_trainer(callbacks=[test, LRTrace()], max_epochs=1).fit(kind(), loader())
        assert test.result is not None
        results.append(test.result.lr)
    assert results[0] == results[1]


@pytest.mark.parametrize("kind", [LRRangeTest, LRSearch, HypergradientLR])
def test_lazy_parameters_are_named(kind: Any) -> None:
    text = f"^{kind.__name__} needs the values of all parameters when training starts, but head.weight is lazy: run "
    with pytest.raises(MisconfigurationException, match=text):
        quiet_trainer(callbacks=[kind()]).fit(Lazy(), loader())


def test_lazy_parameters_are_no_trouble_for_a_schedule() -> None:
    quiet_trainer(callbacks=[CyclicalLR(1e-3, 1e-2, step_size=5)], max_epochs=1).fit(Lazy(), loader())
