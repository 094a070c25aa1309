"""What adapts the learning rate of a run: this package, nothing, and rivals that take the place of the optimizer.

The rivals are what their packages and papers propose, with their defaults. Those that take the place of the optimizer
have no weight decay. ScheduleFree+ is missing: schedulefree has it in no release up to 1.4.1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn
from torch.optim import Optimizer

from benchmarks.suite.setting import MakeOptimizers, Setting
from benchmarks.suite.wrapped_optimizers import DoG, Mechanic, MetaOptimize
from lightning_lr import HypergradientLR, LRRangeTest

_INITIAL_LR = 1e-3  # of runs for which a range test finds the learning rate
_NO_DECAY: dict[str, Any] = {"decay": None}


def _unchanged(optimizers: MakeOptimizers) -> MakeOptimizers:
    return optimizers


@dataclass(frozen=True)
class Contestant:
    """A way to train a setting.

    Attributes:
        lr: learning rate of all its runs. None if it is run from each start.
        callbacks: makes the callbacks that adapt the learning rate.
        optimizers: makes its optimizers from those of the setting.
        finds_lr: whether a callback finds the learning rate before the run.
        package: the distribution that it needs, if it is optional.
    """

    lr: float | None = None
    callbacks: Callable[[], list[Callback]] = list
    optimizers: Callable[[MakeOptimizers], MakeOptimizers] = _unchanged
    finds_lr: bool = False
    package: str | None = None

    @property
    def is_installed(self) -> bool:
        return self.package is None or find_spec(self.package) is not None

    def change(self, setting: Setting) -> Setting:
        """The setting with the optimizers of this contestant."""
        return replace(setting, optimizers=self.optimizers(setting.optimizers))


class ScheduleFreeModes(Callback):
    """Between these calls the weights are those that are trained, after them those to evaluate."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._optimizer(trainer).train()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._optimizer(trainer).eval()

    def _optimizer(self, trainer: Trainer) -> Any:
        return trainer.optimizers[0]


def _replaced(package: str, name: str, **arguments: Any) -> Callable[[MakeOptimizers], MakeOptimizers]:
    """One optimizer of an optional package, for all parameters that are trained."""

    def make(module: nn.Module, lr: float) -> list[Optimizer]:
        optimizer = getattr(import_module(package), name)
        return [optimizer([each for each in module.parameters() if each.requires_grad], lr=lr, **arguments)]

    return lambda _: make


def _dog(_: MakeOptimizers) -> MakeOptimizers:
    return lambda module, lr: [DoG([each for each in module.parameters() if each.requires_grad], lr)]


def _around(wrapper: Callable[[Optimizer], Optimizer]) -> Callable[[MakeOptimizers], MakeOptimizers]:
    """A wrapper around each optimizer of the setting."""
    return lambda optimizers: lambda module, lr: [wrapper(each) for each in optimizers(module, lr)]


NOTHING = "nothing"
CONTESTANTS: dict[str, Contestant] = {
    NOTHING: Contestant(),
    "HypergradientLR": Contestant(callbacks=lambda: [HypergradientLR()]),
    "HypergradientLR without decay": Contestant(callbacks=lambda: [HypergradientLR(**_NO_DECAY)]),
    "LRRangeTest + HypergradientLR": Contestant(_INITIAL_LR, lambda: [LRRangeTest(), HypergradientLR()], finds_lr=True),
    "LRRangeTest": Contestant(_INITIAL_LR, lambda: [LRRangeTest()], finds_lr=True),
    "MetaOptimize": Contestant(optimizers=_around(MetaOptimize)),
    "Prodigy": Contestant(
        1.0,
        optimizers=_replaced("prodigyopt", "Prodigy", safeguard_warmup=True, use_bias_correction=True),
        package="prodigyopt",
    ),
    "schedule-free AdamW": Contestant(
        0.0025,
        lambda: [ScheduleFreeModes()],
        _replaced("schedulefree", "AdamWScheduleFree"),
        package="schedulefree",
    ),
    "D-Adaptation": Contestant(1.0, optimizers=_replaced("dadaptation", "DAdaptAdam"), package="dadaptation"),
    "DoG": Contestant(1.0, optimizers=_dog),
    "Mechanic": Contestant(1.0, optimizers=_around(Mechanic)),
}
# The others are run on request.
USUAL = [name for name in CONTESTANTS if name not in ("HypergradientLR without decay", "LRRangeTest")]
