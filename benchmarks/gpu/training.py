"""A training step in bf16-mixed with fused AdamW, through a real Trainer, with each of the contestants."""

from __future__ import annotations

import gc
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks.gpu.models import Workload
from lightning_lr import CyclicalLR, HypergradientLR, LRTrace, OneCycleLR, WarmupStableDecayLR

_LR = 1e-5  # so low that no loss diverges, whatever moves it
_BATCHES = 4


class Contestant(NamedTuple):
    """What is added to a bare training loop.

    Attributes:
        callbacks: makes them.
        uses_cyclic_lr: whether torch's ``CyclicLR`` steps in each step.
    """

    callbacks: Callable[[], list[Callback]]
    uses_cyclic_lr: bool = False


BARE = "bare loop"
CONTESTANTS = {
    BARE: Contestant(list),
    "bare loop, again": Contestant(list),  # how far two equal loops differ
    "LRTrace": Contestant(lambda: [LRTrace()]),
    "CyclicalLR": Contestant(lambda: [CyclicalLR(_LR, 4 * _LR, 100)]),
    "OneCycleLR": Contestant(lambda: [OneCycleLR(_LR)]),
    "WarmupStableDecayLR": Contestant(lambda: [WarmupStableDecayLR(_LR)]),
    "CyclicLR + LearningRateMonitor": Contestant(lambda: [LearningRateMonitor("step")], uses_cyclic_lr=True),
    "HypergradientLR, each step measured": Contestant(lambda: [HypergradientLR(every=1, decay=None)]),
    "HypergradientLR, settled": Contestant(lambda: [HypergradientLR(every=5, decay=None)]),
}


class Network(LightningModule):
    """A network that returns its loss.

    Args:
        net: the network. It is compiled in place, so that parameters keep their names.
        compile_options: of ``torch.compile``; None to not compile.
    """

    def __init__(self, net: nn.Module, compile_options: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.net, self.lr, self.uses_cyclic_lr = net, _LR, False
        self.replays_graphs = bool(compile_options) and "mode" in (compile_options or {})
        if compile_options is not None:
            net.compile(**compile_options)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        if self.replays_graphs:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        return self.net(*batch)  # type: ignore[no-any-return]

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), self.lr, fused=True)
        if not self.uses_cyclic_lr:
            return optimizer
        cycle = torch.optim.lr_scheduler.CyclicLR(optimizer, _LR, 4 * _LR, 100, cycle_momentum=False)
        return [optimizer], [{"scheduler": cycle, "interval": "step"}]


class _StaysOnDevice(SingleDeviceStrategy):
    """Leaves the module and the memory on the device, where its compiled code and its graphs expect them."""

    def teardown(self) -> None:
        self.precision_plugin.teardown()
        self.checkpoint_io.teardown()


def loader_of(workload: Workload, device: torch.device) -> DataLoader[Any]:
    """Batches that stay on the device, in turn and without end for any run here."""
    batches: Any = [workload.batch(device) for _ in range(_BATCHES)]
    return DataLoader(batches * 1000, batch_size=None)


def fit(
    module: Network,
    loader: DataLoader[Any],
    device: torch.device,
    contestant: Contestant,
    steps: int,
    *,
    log_every_n_steps: int = 10,
    more: tuple[Callback, ...] = (),
) -> Trainer:
    """Train with a new optimizer. ``more`` are callbacks behind those of the contestant."""
    for parameter in module.parameters():
        parameter.grad = None
    gc.collect()
    module.uses_cyclic_lr = contestant.uses_cyclic_lr
    with tempfile.TemporaryDirectory() as folder, _quiet():
        trainer = Trainer(
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=1,
            strategy=_StaysOnDevice(device),
            precision="bf16-mixed",
            max_steps=steps,
            log_every_n_steps=log_every_n_steps,
            logger=TensorBoardLogger(folder),
            callbacks=[*contestant.callbacks(), *more],
            default_root_dir=folder,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, loader)
    return trainer


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning tells of errors alone meanwhile."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore")
            yield
    finally:
        logger.setLevel(level)


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all that it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize()
