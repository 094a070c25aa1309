"""No callback keeps anything of each step: after a thousand steps more, Python holds as much memory as before."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_lr import (
    CyclicalLR,
    HypergradientLR,
    LRRangeTest,
    LRSearch,
    LRTrace,
    OneCycleLR,
    WarmupStableDecayLR,
)
from tests.helpers.lightning_classes import Callback, LightningModule, Trainer, seed_everything
from tests.helpers.public_interface import KeyRecorder
from tests.helpers.tiny_models import quiet_trainer

pytestmark = pytest.mark.filterwarnings("ignore:LR(RangeTest|Search) is not confident")

FIRST, LAST = 500, 1500  # optimizer steps between which memory may not grow
BLOCKS_PER_STEP = 0.6  # a number that is kept of each step takes one; caches that still fill take up to 0.4

CALLBACKS: dict[str, Callable[[], list[Callback]]] = {
    "cycles": lambda: [LRRangeTest(1e-4, 1.0, 20, verify=False), CyclicalLR(step_size=10), HypergradientLR()],
    "one cycle": lambda: [LRSearch(1e-2, 1.0, budget=400), OneCycleLR(momentum=(0.8, 0.9))],
    "warm-up": lambda: [WarmupStableDecayLR(0.01), HypergradientLR("multiplicative")],
    "observed": lambda: [LRTrace(), HypergradientLR(adapt=False)],
}


class Linear(LightningModule):
    """A regression with noise."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        return torch.nn.functional.mse_loss(self.layer(x), y)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.01, 0.9)


class Memory(Callback):
    """The blocks of memory that Python holds after some steps."""

    def __init__(self) -> None:
        self.blocks: list[int] = []

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step in (FIRST, LAST):
            gc.collect()
            self.blocks.append(sys.getallocatedblocks())


@pytest.mark.parametrize("name", CALLBACKS)
def test_nothing_is_kept_of_a_step(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning_lr.trainer.lr_tracer._MAX_DELAY", 0.0)  # else the points of a second wait
    seed_everything(0, verbose=False)
    x = torch.randn(100, 4, 4)
    batches: Any = list(zip(x, x.sum(2, keepdim=True) + torch.randn(100, 4, 1), strict=True))
    memory = Memory()
    trainer = quiet_trainer(
        callbacks=[*CALLBACKS[name](), memory],
        max_epochs=None,
        max_steps=LAST,
        logger=KeyRecorder(),
        log_every_n_steps=1,
    )
    trainer.fit(Linear(), torch.utils.data.DataLoader(batches, batch_size=None))
    assert memory.blocks[1] - memory.blocks[0] < BLOCKS_PER_STEP * (LAST - FIRST)
