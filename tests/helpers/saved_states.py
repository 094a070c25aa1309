"""Runs with each callback that stop at a checkpoint in one of several phases.

``python -m tests.helpers.saved_states`` writes the states of all callbacks in these checkpoints to a file for the
present version. Such files are kept: each version must load those of all versions before it.
"""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import lightning_lr
from lightning_lr import (
    CyclicalLR,
    HypergradientLR,
    LRRangeTest,
    LRSearch,
    OneCycleLR,
    WarmupStableDecayLR,
)
from tests.helpers.hypergradient_cases import FaultyLoss, without_dropout
from tests.helpers.interrupted_training import STEPS, Interrupted, OnException
from tests.helpers.lightning_classes import Callback, LightningModule, Trainer, seed_everything
from tests.helpers.recorded_steps import TwoOptimizers
from tests.helpers.schedule_cases import SaveAt
from tests.helpers.tiny_models import Classifier, loader, quiet_trainer

DATA = Path(__file__).parents[1] / "data"


@dataclass(frozen=True)
class Phase:
    """A run of 8 epochs of 5 optimizer steps, and the step at which it stops.

    Attributes:
        callbacks: makes those of the run.
        step: optimizer steps until the checkpoint. At the end of an epoch: within one, other batches would follow.
        model: makes the model.
        interrupted: whether Ctrl-C comes instead, after ``step`` training steps, those of sweeps and trials included.
    """

    callbacks: Callable[[], list[Callback]]
    step: int
    model: Callable[[], LightningModule] = without_dropout
    interrupted: bool = False


class AllLRs(Callback):
    """Keeps the learning rates of all parameter groups at each training batch."""

    def __init__(self) -> None:
        self.lrs: dict[int, list[float]] = {}

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        rates = [float(group["lr"]) for optimizer in trainer.optimizers for group in optimizer.param_groups]
        self.lrs[trainer.fit_loop.total_batch_idx + 1] = rates


def ctrl_c() -> Classifier:
    return Interrupted("KeyboardInterrupt", lr=1e-3)


def nan_at_step_12() -> Classifier:
    torch.manual_seed(0)
    # a resumed run begins with a new model, so the model must not count
    model = FaultyLoss(lambda _: float("nan") if model.trainer.global_step == 11 else 1.0, lr=0.05)
    model.backbone[3] = torch.nn.Identity()
    return model


def two_optimizers() -> Classifier:
    torch.manual_seed(0)
    model = TwoOptimizers()
    model.backbone[3] = torch.nn.Identity()
    return model


def two_groups() -> Classifier:
    torch.manual_seed(0)
    model = Classifier(backbone_ratio=0.1, optimizer="Adam")
    model.backbone[3] = torch.nn.Identity()
    return model


def range_test(**kwargs: Any) -> list[Callback]:
    return [LRRangeTest(1e-5, 1.0, 60, **kwargs)]


def search() -> list[Callback]:
    return [LRSearch(1e-3, 1.0, budget=800)]


def cycles(**kwargs: Any) -> list[Callback]:
    return [CyclicalLR(0.01, 0.1, 6, **kwargs)]


def adaptation(*args: Any, **kwargs: Any) -> list[Callback]:
    return [HypergradientLR(*args, **kwargs)]


PHASES = {
    "LRRangeTest in the sweep": Phase(range_test, 30, ctrl_c, interrupted=True),
    "LRRangeTest in its trials": Phase(range_test, 180, ctrl_c, interrupted=True),
    "LRRangeTest, done": Phase(range_test, 5),
    "LRRangeTest of a sweep only, done": Phase(lambda: range_test(verify=False), 25),
    "LRRangeTest in two epochs, after the first": Phase(lambda: range_test(verify=False, at_epochs=(0, 4)), 10),
    "LRSearch in its trials": Phase(search, 220, ctrl_c, interrupted=True),
    "LRSearch, done": Phase(search, 5),
    "CyclicalLR in the warm-up": Phase(lambda: cycles(warmup=8), 5),
    "CyclicalLR on the way up": Phase(cycles, 15),
    "CyclicalLR on the way down, with all else": Phase(
        lambda: cycles(mode="triangular2", momentum=(0.8, 0.9), weight_decay=(0.01, 0.05), cycle_mult=1.5), 20
    ),
    "CyclicalLR, fitted": Phase(lambda: cycles(fit_cycles=True), 30),
    "CyclicalLR of one optimizer of two": Phase(lambda: cycles(optimizer=1), 15 * 2, two_optimizers),
    "CyclicalLR with bounds of a range test": Phase(lambda: [*range_test(verify=False), CyclicalLR(step_size=6)], 15),
    "OneCycleLR on the way down": Phase(lambda: [OneCycleLR(0.1, momentum=(0.85, 0.95))], 25),
    "WarmupStableDecayLR, stable": Phase(lambda: [WarmupStableDecayLR(0.1, 5, 10)], 20),
    "WarmupStableDecayLR in the decay": Phase(lambda: [WarmupStableDecayLR(0.1, 5, 10)], 35),
    "HypergradientLR on its way up": Phase(adaptation, 5),
    "HypergradientLR after the way up": Phase(lambda: adaptation(horizon=10, decay=None), 30),
    "HypergradientLR in the decay": Phase(adaptation, 35),
    "HypergradientLR after a return": Phase(adaptation, 20, nan_at_step_12),
    "HypergradientLR of two groups": Phase(lambda: adaptation(per_group=True), 25, two_groups),
    "HypergradientLR of two optimizers": Phase(adaptation, 20 * 2, two_optimizers),
    "HypergradientLR, multiplicative": Phase(lambda: adaptation("multiplicative"), 25),
    "HypergradientLR, additive, plain SGD": Phase(
        lambda: adaptation("additive", 1e-3), 25, lambda: without_dropout("plain SGD")
    ),
    "HypergradientLR without the mean": Phase(lambda: adaptation(save_anchor=False), 25),
    "HypergradientLR that observes": Phase(lambda: adaptation(adapt=False), 25),
    "HypergradientLR on cycles": Phase(lambda: [*cycles(), *adaptation()], 15),
}


def run(phase: Phase, folder: Path, ckpt_path: Path | None = None, stops: bool = False) -> tuple[Trainer, AllLRs]:
    """Train. If it ``stops``, ``on_exception.ckpt`` is saved in the folder at the step of the phase.

    Only an interrupted run ends there. The others go on to their end.
    """
    used = AllLRs()
    saving = OnException(folder) if phase.interrupted else SaveAt(phase.step, folder / "on_exception.ckpt")
    callbacks = [*phase.callbacks(), used, *([saving] if stops else [])]
    STEPS["left"] = phase.step if stops and phase.interrupted else 0
    trainer = quiet_trainer(callbacks=callbacks, max_epochs=8)
    seed_everything(3, verbose=False)
    handler = signal.getsignal(signal.SIGINT)
    with suppress(KeyboardInterrupt, SystemExit):
        trainer.fit(phase.model(), loader(5, 32), loader(4, seed=1), ckpt_path=ckpt_path)
    signal.signal(signal.SIGINT, handler)  # Lightning ignores it after a first Ctrl-C
    return trainer, used


def states(phase: Phase) -> dict[str, Any]:
    """The states of the callbacks of this package in the checkpoint of a phase."""
    with tempfile.TemporaryDirectory() as name:
        run(phase, Path(name), stops=True)
        saved = torch.load(Path(name) / "on_exception.ckpt", weights_only=True)
    found: dict[str, Any] = saved["callbacks"]
    return found


def main() -> None:
    path = DATA / f"callback_states_{lightning_lr.__version__}.pt"
    torch.save({name: states(phase) for name, phase in PHASES.items()}, path)
    print(f"{path.name}: {len(PHASES)} states, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
