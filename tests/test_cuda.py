"""Tests that need a CUDA device: no step waits for it, and compiled models, precisions and strategies work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import Optimizer

from lightning_lr import CyclicalLR, HypergradientLR, LRRangeTest
from lightning_lr.adaptation.measurement import Measurement, MeasurementQueue
from lightning_lr.trainer import step_loss
from tests.helpers.hypergradient_cases import RULES, first_group_state
from tests.helpers.lightning_classes import Callback, CSVLogger, LightningModule, Trainer
from tests.helpers.recorded_steps import RecordingClassifier, fit
from tests.helpers.tiny_models import Classifier

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

OPTIMIZERS: dict[str, Any] = {
    "SGD": lambda p: torch.optim.SGD(p, 0.01),
    "momentum": lambda p: torch.optim.SGD(p, 0.01, momentum=0.9),
    "fused momentum": lambda p: torch.optim.SGD(p, 0.01, momentum=0.9, fused=True),
    "Adam": lambda p: torch.optim.Adam(p, 1e-4),
    "fused Adam": lambda p: torch.optim.Adam(p, 1e-4, fused=True),
    "Adam, rate on the device": lambda p: torch.optim.Adam(p, torch.tensor(1e-4, device="cuda"), capturable=True),
    "RMSprop": lambda p: torch.optim.RMSprop(p, 1e-4),
}


class ClassifierWithOptimizer(Classifier):
    """Takes its optimizer from a function. Its training step does not wait for the device."""

    def __init__(self, make: Any) -> None:
        super().__init__()
        self.make = make

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return torch.nn.functional.cross_entropy(self.head(self.backbone(batch[0])), batch[1])

    def configure_optimizers(self) -> Any:
        return self.make(self.parameters())


class ForbidWaiting(Callback):
    """From the end of the backward pass, waiting for the device is an error."""

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        if trainer.global_step > 1:  # the length of the first step is read right after it
            torch.cuda.set_sync_debug_mode("error")


class AllowWaiting(Callback):
    """From the end of the batch, waiting is allowed again. Counts the steps in which it was an error."""

    def __init__(self) -> None:
        self.steps = 0

    def on_train_batch_end(self, *args: Any) -> None:
        self.steps += torch.cuda.get_sync_debug_mode() > 0
        torch.cuda.set_sync_debug_mode("default")


@pytest.fixture
def waiting_is_allowed_again() -> Iterator[None]:
    yield
    torch.cuda.set_sync_debug_mode("default")


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


@pytest.mark.filterwarnings("ignore:LRRangeTest")
@pytest.mark.parametrize("snapshot", ["device", "cpu"])
def test_a_rehearsal_leaves_no_trace(snapshot: Any) -> None:
    """Not even in the random state of the device, which dropout uses."""
    ends = []
    for callbacks in ([], [LRRangeTest(apply=False, verify=False, snapshot=snapshot)]):
        torch.manual_seed(0)
        model = Classifier()
        fit(model, *callbacks, accelerator="gpu")
        ends.append([*(p.detach().cpu() for p in model.parameters()), torch.tensor(model.losses[-40:])])
    for one, other in zip(*ends, strict=True):
        assert torch.equal(one, other)
