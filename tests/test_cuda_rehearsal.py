"""Range tests and searches on a CUDA device: the run after them is the same, bit for bit, and usable after a fault."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_lr import CyclicalLR, LRRangeTest, LRSearch
from tests.helpers.cuda_runs import NEEDS_CUDA, ClassifierWithOptimizer
from tests.helpers.lightning_classes import Callback, LightningModule, MisconfigurationException, Trainer
from tests.helpers.recorded_steps import fit
from tests.helpers.tiny_models import Classifier

pytestmark = [
    *NEEDS_CUDA,
    pytest.mark.filterwarnings("ignore:LRRangeTest"),
    pytest.mark.filterwarnings("ignore:LRSearch"),
]
SWEEP: dict[str, Any] = {"num_steps": 50, "apply": False, "verify": False}
REHEARSALS: dict[str, Callable[[], Callback]] = {
    "sweep": lambda: LRRangeTest(**SWEEP),
    "sweep, host memory": lambda: LRRangeTest(**SWEEP, snapshot="cpu"),
    "sweep and trials": lambda: LRRangeTest(apply=False),
    "search": lambda: LRSearch(1e-4, 1.0, budget=440, apply=False),
}


def ends(make: Callable[[], Any], *callbacks: Callback, **kwargs: Any) -> list[Tensor]:
    """The losses of the run and the parameters at its end."""
    torch.manual_seed(0)
    model, losses = make(), Losses()
    fit(model, *callbacks, losses, accelerator="gpu", **kwargs)
    return [torch.stack(losses.values).cpu(), *(p.detach().cpu() for p in model.parameters())]


def assert_same(one: list[Tensor], other: list[Tensor]) -> None:
    for each, same in zip(one, other, strict=True):
        assert torch.equal(each, same)


class Losses(Callback):
    """The losses of the training. A rehearsal does not call it."""

    def __init__(self) -> None:
        self.values: list[Tensor] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        self.values.append(outputs["loss"].detach().clone())


@pytest.mark.parametrize("name", REHEARSALS)
def test_a_rehearsal_leaves_no_trace(name: str) -> None:
    """Not even in the random state of the device, which dropout uses."""
    assert_same(ends(Classifier, REHEARSALS[name]()), ends(Classifier))


@pytest.mark.parametrize("precision", ["16-mixed", "bf16-mixed", "bf16-true"])
def test_a_rehearsal_leaves_no_trace_in_these_precisions(precision: Any) -> None:
    """Nor in the GradScaler, which has met infinite gradients in the sweep."""

    def make() -> ClassifierWithOptimizer:
        return ClassifierWithOptimizer(lambda p: torch.optim.Adam(p, 1e-3))

    assert_same(ends(make, LRRangeTest(**SWEEP), precision=precision), ends(make, precision=precision))


OPTIMIZERS: dict[str, Any] = {
    "fused": lambda p: torch.optim.AdamW(p, 0.001, fused=True),
    "capturable": lambda p: torch.optim.AdamW(p, torch.tensor(0.001, device="cuda"), capturable=True),
    "fused momentum": lambda p: torch.optim.SGD(p, 0.01, momentum=0.9, fused=True),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_rehearsal_leaves_no_trace_in_the_optimizer(name: str) -> None:
    def make() -> ClassifierWithOptimizer:
        return ClassifierWithOptimizer(OPTIMIZERS[name])

    assert_same(ends(make, LRRangeTest(**SWEEP)), ends(make))


class Compiled(ClassifierWithOptimizer):
    """Its network is compiled in place."""

    def __init__(self, **options: Any) -> None:
        super().__init__(lambda p: torch.optim.SGD(p, 0.01, momentum=0.9))
        self.replays_graphs = "mode" in options
        if self.replays_graphs:
            self.backbone[3] = torch.nn.Identity()  # a graph has random numbers of its own
        self.net = torch.nn.Sequential(self.backbone, self.head)
        self.net.compile(**options)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        if self.replays_graphs:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        return torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])


@pytest.mark.filterwarnings("ignore")  # of the compiler
@pytest.mark.parametrize("options", [{}, {"mode": "reduce-overhead"}], ids=["compiled", "CUDA graphs"])
def test_a_rehearsal_leaves_no_trace_in_a_compiled_module(options: Any) -> None:
    def make() -> Compiled:
        return Compiled(**options)

    assert_same(ends(make, LRRangeTest(**SWEEP), CyclicalLR(0.01, 0.1, 10)), ends(make, CyclicalLR(0.01, 0.1, 10)))


@pytest.mark.filterwarnings("ignore")  # of torch, for one process
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_strategies_of_one_device_work_or_refuse_in_a_sentence(strategy: str) -> None:
    """With NCCL. FSDP has one shard, and its parameters are flat."""

    def run(*callbacks: Callback) -> list[Tensor]:
        try:
            return ends(Classifier, *callbacks, strategy=strategy)
        finally:
            if torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()

    without, with_, refusal = run(), [], ""
    try:
        with_ = run(LRRangeTest(**SWEEP))
    except MisconfigurationException as error:
        refusal = str(error)
    if strategy == "fsdp" and refusal:
        assert "FSDP" in refusal
    else:
        assert_same(with_, without)


class WarmUp(Callback):
    """A step without effect on parameters, after which libraries hold the memory that they work in."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        batch = torch.randn(8, 6, device=pl_module.device), torch.zeros(8, dtype=torch.long, device=pl_module.device)
        loss: Any = pl_module.training_step(batch, 0)
        loss.backward()
        pl_module.zero_grad()


class DeviceState(Callback):
    """The random state of the device and the memory that is held there, at the start of training."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        torch.cuda.synchronize()
        self.random, self.held = torch.cuda.get_rng_state(), torch.cuda.memory_allocated()


class Large(ClassifierWithOptimizer):
    """4 million parameters."""

    def __init__(self) -> None:
        super().__init__(lambda p: torch.optim.Adam(p, 1e-3))
        sizes = (16, 2000), (2000, 2000), (2000, 3)
        head: Any = torch.nn.Sequential(*(torch.nn.Linear(*size) for size in sizes))
        self.head = head


@pytest.mark.parametrize("name", REHEARSALS)
def test_random_state_and_memory_of_the_device_are_as_before(name: str) -> None:
    before, after = DeviceState(), DeviceState()
    fit(Large(), WarmUp(), before, REHEARSALS[name](), after, accelerator="gpu")
    assert torch.equal(before.random, after.random)
    assert after.held - before.held < 2**20


class OutOfMemory(Classifier):
    """Asks for more memory than there is, in the step of this number, once."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step, self.steps = step, itertools.count()  # an iterator, which a rehearsal does not restore

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        if next(self.steps) == self.step:
            torch.empty(2**50, device="cuda")
        return super().training_step(batch, batch_idx)


@pytest.mark.filterwarnings("ignore:.* cannot rewind iterators")
@pytest.mark.parametrize("name", REHEARSALS)
def test_out_of_memory_in_a_rehearsal_leaves_training_usable(name: str) -> None:
    torch.manual_seed(0)
    model = OutOfMemory(step=20)
    start = [p.detach().clone() for p in model.parameters()]
    with pytest.raises(torch.OutOfMemoryError):
        fit(model, REHEARSALS[name](), accelerator="gpu")
    assert_same([p.detach().cpu() for p in model.parameters()], start)
    losses = Losses()
    fit(model, losses, accelerator="gpu")
    assert_same([torch.stack(losses.values).cpu(), *(p.detach().cpu() for p in model.parameters())], ends(Classifier))
