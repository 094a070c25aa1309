"""Mixed and half precision on a CUDA device, with a real GradScaler, and learning rates that live there."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_lr import CyclicalLR, HypergradientLR, LRRangeTest, LRTrace, OneCycleLR
from tests.helpers.cuda_runs import (
    NEEDS_CUDA,
    AllowWaiting,
    ClassifierWithOptimizer,
    ForbidWaiting,
    waiting_is_allowed_again,
)
from tests.helpers.hypergradient_cases import first_group_state
from tests.helpers.lightning_classes import Callback, CSVLogger, LightningModule, MixedPrecision, Trainer
from tests.helpers.recorded_steps import fit
from tests.helpers.tiny_models import loader

pytestmark = NEEDS_CUDA
__all__ = ["waiting_is_allowed_again"]  # a fixture


def mixed(init_scale: float) -> MixedPrecision:
    return MixedPrecision("16-mixed", "cuda", scaler=torch.amp.GradScaler("cuda", init_scale=init_scale))


class Overflowing(ClassifierWithOptimizer):
    """Its gradients are infinite in the steps that are named."""

    def __init__(self, make: Any, *steps: int) -> None:
        super().__init__(make)
        self.steps, self.batches = steps, 0

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        self.batches += 1
        if self.batches in self.steps:
            loss.register_hook(lambda gradient: gradient * float("inf"))  # type: ignore[no-untyped-call]
        return loss


@pytest.mark.parametrize("fused", [False, True])
def test_a_forced_overflow_skips_its_step_and_nothing_else(fused: bool) -> None:
    model = Overflowing(lambda p: torch.optim.Adam(p, 1e-5, fused=fused), 15, 16, 30)
    adapts = HypergradientLR(every=1)
    fit(model, adapts, accelerator="gpu", plugins=[mixed(256.0)])
    state = adapts.state_dict()["progress"][0]
    assert state["watch"]["returns"] == 0
    assert state["adaptation"]["unknown"] == 3
    assert first_group_state(adapts)["rule"]["scale"] > 2
    assert all(torch.isfinite(p).all() for p in model.parameters())


@pytest.mark.parametrize("fused", [False, True])
def test_the_first_steps_may_all_overflow(fused: bool) -> None:
    model = ClassifierWithOptimizer(lambda p: torch.optim.Adam(p, 1e-5, fused=fused))
    adapts = HypergradientLR()
    fit(model, adapts, accelerator="gpu", data=loader(60), plugins=[mixed(2.0**30)])
    assert first_group_state(adapts)["rule"]["scale"] > 2
    assert adapts.state_dict()["progress"][0]["watch"]["returns"] == 0


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
@pytest.mark.usefixtures("waiting_is_allowed_again")
@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_no_step_waits_in_these_precisions(precision: Any, tmp_path: Any) -> None:
    """With a GradScaler one wait a step is needed, to know whether the step was skipped."""
    model = ClassifierWithOptimizer(lambda p: torch.optim.Adam(p, 1e-4, fused=True))
    allow = AllowWaiting()
    callbacks = [ForbidWaiting(), CyclicalLR(0.001, 0.01, 5), LRTrace(), HypergradientLR(horizon=20), allow]
    fit(model, *callbacks, accelerator="gpu", logger=CSVLogger(tmp_path), log_every_n_steps=30, precision=precision)
    assert allow.steps == 38


class Memory(Callback):
    """Records how much is held after each step."""

    def __init__(self) -> None:
        self.held: list[int] = []

    def on_train_batch_end(self, *args: Any) -> None:
        self.held.append(torch.cuda.memory_allocated())


@pytest.mark.parametrize("precision", ["16-mixed", "bf16-mixed"])
def test_memory_does_not_grow(precision: Any) -> None:
    model, memory = ClassifierWithOptimizer(lambda p: torch.optim.Adam(p, 1e-5)), Memory()
    callbacks = [CyclicalLR(1e-5, 1e-4, 50), HypergradientLR(), memory]
    fit(model, *callbacks, accelerator="gpu", precision=precision, data=loader(300), max_epochs=1)
    assert max(memory.held[200:]) <= max(memory.held[50:100])


DEVICE_RATES: dict[str, Any] = {
    "capturable": lambda p: torch.optim.AdamW(p, torch.tensor(0.01, device="cuda"), capturable=True),
    "fused": lambda p: torch.optim.AdamW(p, torch.tensor(0.01, device="cuda"), fused=True),
    "fused, rate on the host": lambda p: torch.optim.AdamW(p, torch.tensor(0.01), fused=True),
}


class UsedLRs(Callback):
    """Records the object that the learning rate is, and its value, in each step."""

    def __init__(self) -> None:
        self.objects: list[Any] = []
        self.values: list[float] = []

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        self.objects.append(optimizer.param_groups[0]["lr"])
        self.values.append(float(self.objects[-1]))


@pytest.mark.parametrize("name", DEVICE_RATES)
@pytest.mark.parametrize(
    "callback", [lambda: CyclicalLR(0.001, 0.01, 5), lambda: OneCycleLR(0.01)], ids=["cycles", "one cycle"]
)
def test_a_schedule_fills_the_same_tensor(callback: Any, name: str) -> None:
    used, plain = UsedLRs(), UsedLRs()
    fit(ClassifierWithOptimizer(DEVICE_RATES[name]), callback(), used, accelerator="gpu")
    fit(ClassifierWithOptimizer(lambda p: torch.optim.AdamW(p, 0.01)), callback(), plain, accelerator="gpu")
    assert all(each is used.objects[0] for each in used.objects)
    assert used.values == pytest.approx(plain.values, rel=1e-6)


@pytest.mark.filterwarnings("ignore:LRRangeTest")
@pytest.mark.parametrize("name", DEVICE_RATES)
def test_a_range_test_sets_rates_on_the_device(name: str) -> None:
    model, test = ClassifierWithOptimizer(DEVICE_RATES[name]), LRRangeTest(num_steps=50, verify=False)
    trainer = fit(model, test, accelerator="gpu")
    assert test.result is not None
    assert float(trainer.optimizers[0].param_groups[0]["lr"]) == pytest.approx(test.result.lr, rel=1e-5)


@pytest.mark.filterwarnings("ignore:LRRangeTest")
@pytest.mark.parametrize("precision", ["16-mixed", "bf16-mixed", "bf16-true"])
def test_a_range_test_finds_a_rate_in_each_precision(precision: Any) -> None:
    test = LRRangeTest(verify=False)
    fit(ClassifierWithOptimizer(lambda p: torch.optim.Adam(p, 1e-3)), test, accelerator="gpu", precision=precision)
    assert test.result is not None
    assert 1e-4 < test.result.lr < 1
