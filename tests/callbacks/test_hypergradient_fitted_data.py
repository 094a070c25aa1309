"""`HypergradientLR` on data that a network fits completely: all gradients then say "longer", without an end."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_lr import HypergradientLR
from tests.helpers.lightning_classes import Callback, LightningModule, Trainer
from tests.helpers.tiny_models import quiet_trainer

OPTIMIZERS: dict[str, Any] = {
    "Adam": torch.optim.Adam,
    "AdamW": torch.optim.AdamW,
    "SGD with momentum": lambda params, lr: torch.optim.SGD(params, lr, momentum=0.9),
}


class _Memorizes(LightningModule):
    """Random labels, which it can learn by heart."""

    def __init__(self, optimizer: str) -> None:
        super().__init__()
        self.optimizer = optimizer
        self.net = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 4))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> Any:
        return OPTIMIZERS[self.optimizer](self.parameters(), lr=1e-3)


class _Records(Callback):
    def __init__(self) -> None:
        self.losses: list[float] = []
        self.lrs: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        self.losses.append(outputs["loss"].item())
        self.lrs.append(trainer.optimizers[0].param_groups[0]["lr"])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_network_that_has_learned_by_heart_is_not_lost(optimizer: str) -> None:
    torch.manual_seed(0)
    data = TensorDataset(torch.randn(64, 20), torch.randint(4, (64,)))
    records = _Records()
    trainer = quiet_trainer(callbacks=[HypergradientLR(decay=None), records], max_epochs=200)
    trainer.fit(_Memorizes(optimizer), DataLoader(data, batch_size=16, shuffle=True))
    fitted = next(step for step, loss in enumerate(records.losses) if loss < 0.003)
    assert max(records.losses[fitted:]) < 0.5  # without learning it would be log 4 = 1.4
    assert max(records.lrs) < 30 * records.lrs[fitted]


class _NoisyRegression(LightningModule):
    """A linear model of targets that are mostly noise."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(20, 1)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return nn.functional.mse_loss(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=1e-7)


@pytest.mark.parametrize("seed", range(4))
def test_chance_is_no_gain_so_a_low_start_rises(seed: int) -> None:
    """The first losses may happen to be high. What the loss is below them by then must not hold the learning rate."""
    torch.manual_seed(seed)
    x = torch.randn(2000, 20)
    data = TensorDataset(x, x @ torch.randn(20, 1) + 5 * torch.randn(2000, 1))
    records = _Records()
    trainer = quiet_trainer(callbacks=[HypergradientLR(decay=None), records], max_epochs=2)
    trainer.fit(_NoisyRegression(), DataLoader(data, batch_size=8, shuffle=True))
    assert max(records.lrs) > 1e-3
