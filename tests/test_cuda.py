"""Tests that need a CUDA device: no step waits for it, and compiled models, precisions and strategies work."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_lr import CyclicalLR, HypergradientLR
from lightning_lr.adaptation.measurement import Measurement, MeasurementQueue
from lightning_lr.trainer import step_loss
from tests.helpers.cuda_runs import (
    NEEDS_CUDA,
    AllowWaiting,
    ClassifierWithOptimizer,
    ForbidWaiting,
    waiting_is_allowed_again,
)
from tests.helpers.hypergradient_cases import RULES, first_group_state
from tests.helpers.lightning_classes import CSVLogger, Trainer
from tests.helpers.recorded_steps import RecordingClassifier, fit

pytestmark = NEEDS_CUDA
__all__ = ["waiting_is_allowed_again"]  # a fixture

OPTIMIZERS: dict[str, Any] = {
    "SGD": lambda p: torch.optim.SGD(p, 0.01),
    "momentum": lambda p: torch.optim.SGD(p, 0.01, momentum=0.9),
    "fused momentum": lambda p: torch.optim.SGD(p, 0.01, momentum=0.9, fused=True),
    "Adam": lambda p: torch.optim.Adam(p, 1e-4),
    "fused Adam": lambda p: torch.optim.Adam(p, 1e-4, fused=True),
    "Adam, rate on the device": lambda p: torch.optim.Adam(p, torch.tensor(1e-4, device="cuda"), capturable=True),
    "RMSprop": lambda p: torch.optim.RMSprop(p, 1e-4),
}


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
@pytest.mark.usefixtures("waiting_is_allowed_again")
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("rule", RULES)
def test_no_step_waits_for_the_device(rule: str, name: str, tmp_path: Any) -> None:
    adapts, allow = RULES[rule](), AllowWaiting()
    cycle: Any = [CyclicalLR(0.001, 0.01, 5)] if "rate" not in name else []
    torch.manual_seed(0)
    model = ClassifierWithOptimizer(OPTIMIZERS[name])
    # the tracer reads logged values at most once a second
    fit(
        model,
        ForbidWaiting(),
        *cycle,
        adapts,
        allow,
        accelerator="gpu",
        logger=CSVLogger(tmp_path),
        log_every_n_steps=30,
    )
    assert allow.steps == 38
    assert first_group_state(adapts)["rule"]["scale"] != 1


def test_late_values_are_those_of_their_step() -> None:
    late = MeasurementQueue()
    large = torch.randn(4096, 4096, device="cuda")
    for i in range(5):
        large = large @ large / 64  # keeps the device busy
        total = torch.full((3,), float(i), device="cuda")
        late.put(Measurement(total, [], i), [])
        total.fill_(-1.0)  # behind the copy
    assert [(read.sums.tolist(), read.steps) for read in late.take()] == [([float(i)] * 3, i) for i in range(5)]


class Compiled(RecordingClassifier):
    """Replays a CUDA graph, which writes each loss over the loss before it."""

    def __init__(self, is_automatic: bool) -> None:
        super().__init__(momentum=0.0)
        self.automatic_optimization = is_automatic
        self.fast = torch.compile(self.loss, mode="reduce-overhead")

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.nn.functional.cross_entropy(self.head(torch.relu(self.backbone[0](x))), y)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        loss: Tensor = self.fast(*batch)
        self.losses.append(loss.item())
        if not self.automatic_optimization:
            optimizer: Any = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
        return loss


@pytest.mark.filterwarnings("ignore")  # of the compiler
@pytest.mark.parametrize("is_automatic", [True, False])
def test_losses_of_a_compiled_model_that_overwrites_them(is_automatic: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor | None] = []
    pop_mean = step_loss.StepLoss.pop_mean

    def kept(self: Any, trainer: Trainer) -> Tensor | None:
        seen.append(pop_mean(self, trainer))
        return seen[-1]

    monkeypatch.setattr(step_loss.StepLoss, "pop_mean", kept)
    model = Compiled(is_automatic)
    fit(model, HypergradientLR(horizon=20, every=5), accelerator="gpu")
    assert torch.stack([loss for loss in seen if loss is not None]).tolist() == model.losses


@pytest.mark.parametrize("precision", ["16-mixed", "bf16-mixed", "bf16-true"])
def test_precisions(precision: Any) -> None:
    model = ClassifierWithOptimizer(lambda p: torch.optim.Adam(p, 1e-5))
    adapts = HypergradientLR()
    trainer = fit(model, adapts, accelerator="gpu", precision=precision)
    assert trainer.global_step > 30  # the first steps of a GradScaler overflow
    assert first_group_state(adapts)["rule"]["scale"] > 2
    assert adapts.state_dict()["progress"][0]["watch"]["returns"] == 0


@pytest.mark.filterwarnings("ignore")  # of torch, for one process
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_strategies_of_one_device(strategy: str) -> None:
    """With NCCL. FSDP has one shard."""
    model, adapts = ClassifierWithOptimizer(lambda p: torch.optim.Adam(p, 1e-5)), HypergradientLR()
    try:
        fit(model, adapts, accelerator="gpu", strategy=strategy)
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
    assert first_group_state(adapts)["rule"]["scale"] > 2
