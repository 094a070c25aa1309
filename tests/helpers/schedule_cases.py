"""One callback of each kind of schedule, and a callback that saves a checkpoint at a step."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning_lr import CyclicalLR, OneCycleLR, WarmupStableDecayLR
from lightning_lr.callbacks._scheduled_lr import ScheduledLR
from tests.helpers.lightning_classes import Callback, Trainer

SCHEDULES: dict[str, Callable[[], ScheduledLR]] = {
    "triangular": lambda: CyclicalLR(0.01, 0.1, 7),
    "triangular2": lambda: CyclicalLR(0.01, 0.1, 4, 3, mode="triangular2"),
    "exp_range": lambda: CyclicalLR(0.01, 0.1, 7, mode="exp_range", gamma=0.97),
    "decay": lambda: CyclicalLR(0.01, 0.1, 7, mode="exp_range", decay=0.1),
    "own scale": lambda: CyclicalLR(0.01, 0.1, 7, scale_fn=math.sqrt, scale_mode="iterations"),
    "cosine": lambda: CyclicalLR(0.01, 0.1, 7, wave="cosine"),
    "growing": lambda: CyclicalLR(0.01, 0.1, 3, cycle_mult=1.7),
    "shrinking": lambda: CyclicalLR(0.01, 0.1, 10, cycle_mult=0.5, num_cycles=3),
    "warm-up": lambda: CyclicalLR(0.01, 0.1, 5, warmup=6),
    "fitted": lambda: CyclicalLR(0.01, 0.1, 6, fit_cycles=True),
    "restarts": lambda: CyclicalLR(0.01, 0.1, 0, 7, wave="cosine", warmup=4),
    "momentum": lambda: CyclicalLR(0.01, 0.1, 7, momentum=(0.8, 0.95), weight_decay=(1e-4, 1e-2)),
    "one cycle": lambda: OneCycleLR(0.1, momentum=(0.8, 0.95)),
    "one cycle, three phases": lambda: OneCycleLR(0.1, three_phase=True, wave="triangle"),
    "warm-up, stable, decay": lambda: WarmupStableDecayLR(0.1, warmup=5, decay=10),
}


class SaveAt(Callback):
    """Saves a checkpoint after an optimizer step."""

    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)
