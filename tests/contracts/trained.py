"""A training as a cell of the support matrix says, with a callback, without one, or with its learning rates."""

from __future__ import annotations

import copy
import hashlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from lightning_lr.optimizers.param_groups import set_lr
from tests.contracts.loops import LOOPS, Loop
from tests.contracts.settings import LAUNCHED, PRECISIONS, STRATEGIES
from tests.helpers.lightning_classes import PACKAGE, Callback, LightningModule, Trainer, seed_everything

Rates = list[list[list[float]]]  # of each optimizer, step and group
QUIET: dict[str, Any] = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


class OwnRates(Callback):
    """Records the learning rates that each optimizer step of the training uses, or sets those of another run.

    It is not called in rehearsals, whose steps are not recorded. `HypergradientLR` may shorten the first step of an
    optimizer, so the parameters behind it are recorded and set too.
    """

    def __init__(self, replayed: OwnRates | None = None) -> None:
        self.replayed, self.recorded = replayed, Rates()
        self.first_steps: list[list[Tensor]] = []  # of each optimizer, the parameters behind it
        self._trains = False

    def on_train_start(self, trainer: Trainer, *_: Any) -> None:
        self.recorded = [[] for _ in trainer.optimizers]
        self.first_steps = [[] for _ in trainer.optimizers]
        for i, optimizer in enumerate(trainer.optimizers):
            optimizer.register_step_pre_hook(partial(self._before_step, i))
            optimizer.register_step_post_hook(partial(self._after_step, i))

    def on_train_batch_start(self, *_: Any) -> None:
        self._trains = True

    def on_train_batch_end(self, *_: Any) -> None:
        self._trains = False

    def _before_step(self, i: int, optimizer: Any, *_: Any) -> None:
        if self._trains and not _is_skipped(optimizer):
            if self.replayed is not None:
                lrs = self.replayed.recorded[i][len(self.recorded[i])]
                for group, lr in zip(optimizer.param_groups, lrs, strict=True):
                    set_lr(group, lr)
            self.recorded[i].append([float(group["lr"]) for group in optimizer.param_groups])

    def _after_step(self, i: int, optimizer: Any, *_: Any) -> None:
        if self._trains and not _is_skipped(optimizer) and len(self.recorded[i]) == 1:
            parameters = [parameter.data for group in optimizer.param_groups for parameter in group["params"]]
            if self.replayed is not None:
                for parameter, value in zip(parameters, self.replayed.first_steps[i], strict=True):
                    parameter.copy_(value)
            self.first_steps[i] = [parameter.clone() for parameter in parameters]


def _is_skipped(optimizer: Any) -> bool:
    """Whether a GradScaler calls a fused optimizer for a step that it must skip."""
    return bool(getattr(optimizer, "found_inf", False))


@dataclass
class Trained:
    """A run that has ended.

    Attributes:
        rates: learning rates.
        weights: all of the module's state; of this rank, where it is sharded.
        steps: as the Trainer counts them, steps that were skipped included.
        same_on_ranks: digests of what must be the same on all ranks: of this one, or of all if Lightning started them.
        goes_on: the Trainer's steps after another fit with the same objects; None if that was not tried.
        callbacks: of the row.
        error: what ended it, None if nothing did.
    """

    rates: OwnRates = field(default_factory=OwnRates)
    weights: list[Tensor] = field(default_factory=list)
    steps: int = 0
    same_on_ranks: Sequence[str] = ()
    goes_on: int | str | None = None
    callbacks: Sequence[Callback] = ()
    error: Exception | None = None


class Deliver(Callback):
    """Writes what a rank has trained to a file, since a process that Lightning starts returns little."""

    def __init__(self, rates: OwnRates, folder: str) -> None:
        self.rates, self.folder = rates, folder

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        torch.save(
            (self.rates.recorded, self.rates.first_steps, _weights(pl_module), _digest(self.rates, pl_module)),
            Path(self.folder, str(trainer.global_rank)),
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Without messages and warnings. Other tests ask for these."""
    logger = logging.getLogger(PACKAGE)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def train(
    strategy: str,
    precision: str,
    loop: str,
    callbacks: Sequence[Callback] = (),
    replayed: OwnRates | None = None,
    steps: int = 0,
) -> Trained:
    """Train.

    Args:
        strategy: a key of `STRATEGIES`.
        precision: a key of `PRECISIONS`.
        loop: a key of `LOOPS`.
        callbacks: that are tried.
        replayed: learning rates to use.
        steps: as the Trainer counts them, where the loop leaves them to a clock.
    """
    rates, module = OwnRates(replayed), None
    arguments = {**QUIET, **STRATEGIES[strategy](), **PRECISIONS[precision](), **LOOPS[loop].arguments()}
    if steps:
        arguments |= {"max_time": None, "max_steps": steps}
    seed_everything(1, verbose=False)
    with TemporaryDirectory() as folder:
        own = [rates, Deliver(rates, folder)] if strategy in LAUNCHED else [rates]
        try:
            trainer = Trainer(**{**arguments, "callbacks": [*callbacks, *arguments.get("callbacks", []), *own]})
            module = LOOPS[loop].module()
            trainer.fit(module, LOOPS[loop].data())
        except Exception as error:
            return Trained(error=error)
        if strategy in LAUNCHED:
            ranks = [torch.load(path, weights_only=True) for path in sorted(Path(folder).iterdir())]
            rates.recorded, rates.first_steps, weights, _ = ranks[0]
            return Trained(rates, weights, 0, [digest for *_, digest in ranks], None, callbacks)
    # before another fit, which records anew
    trained = Trained(copy.copy(rates), _weights(module), trainer.global_step, [_digest(rates, module)])
    trained.goes_on, trained.callbacks = _another_fit(trainer, module, LOOPS[loop]), callbacks
    return trained


def _local(tensor: Tensor) -> Tensor:
    return (tensor.to_local() if isinstance(tensor, DTensor) else tensor).detach().clone()


def _weights(module: LightningModule) -> list[Tensor]:
    return [_local(each) for each in module.state_dict().values() if isinstance(each, Tensor)]


def _digest(rates: OwnRates, module: LightningModule) -> str:
    """Of the learning rates, and of parameters that are not sharded. Buffers of BatchNorm are each rank's own."""
    buffer = io.BytesIO()
    torch.save([_local(each) for each in module.parameters() if not isinstance(each, DTensor)], buffer)
    return hashlib.md5(buffer.getvalue() + repr(rates.recorded).encode()).hexdigest()


def _another_fit(trainer: Trainer, module: LightningModule, loop: Loop) -> int | str | None:
    if not loop.steps or vars(trainer)["fast_dev_run"]:
        return None
    if trainer.max_steps == -1:
        trainer.fit_loop.max_epochs = trainer.current_epoch + 1
    else:
        trainer.fit_loop.epoch_loop.max_steps = trainer.global_step + 2 * loop.optimizers
    try:
        trainer.fit(module, loop.data())
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return trainer.global_step
