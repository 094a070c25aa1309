"""The time of a sweep, a range test and a search against as many plain steps, and against ``LearningRateFinder``."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import LearningRateFinder
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.costs.models import ImageClassifier
from benchmarks.costs.ratio import Ratio, ratio_of_times
from benchmarks.timing import seconds_of
from lightning_lr import LRRangeTest, LRSearch

STEPS = 200  # of a sweep, and of the run after a whole range test, whose trials are at most as long


def train(model: ImageClassifier, callbacks: list[Callback], steps: int) -> int:
    """Train for ``steps``, at least 1: a Trainer cannot stop directly after the sweep. Returns all optimizer steps."""
    torch.manual_seed(0)
    data = TensorDataset(*model.images(model.batch_size * STEPS))
    quiet: dict[str, Any] = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    module = model.module()
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        trainer = Trainer(accelerator="cpu", max_steps=steps, callbacks=callbacks, default_root_dir=folder, **quiet)
        trainer.fit(module, DataLoader(data, model.batch_size))
    return next(module.steps)


def ratios_of_finders(model: ImageClassifier, rounds: int) -> list[Ratio]:
    """Each finder against as many plain steps as it takes, and the sweep against Lightning's finder."""
    sweep, lightning = "LRRangeTest(verify=False)", "LearningRateFinder"
    # In this range nothing diverges, and the sweep ends with it.
    makers: dict[str, tuple[Callable[[], Callback], int]] = {
        sweep: (lambda: LRRangeTest(lrs=np.geomspace(1e-7, 1e-2, STEPS).tolist(), verify=False), 1),
        lightning: (lambda: LearningRateFinder(1e-7, 1e-2, STEPS, early_stop_threshold=None), 1),
        "LRRangeTest, whole run": (LRRangeTest, STEPS),
        "LRSearch, whole run": (LRSearch, STEPS),
    }
    runs: dict[str, Callable[[], Any]] = {}
    pairs = [(sweep, lightning)]
    for finder, (make, steps_after) in makers.items():
        steps = train(model, [make()], steps_after)  # also the warm-up
        plain = f"{steps} plain steps"
        runs[plain] = partial(train, model, [], steps)
        runs[finder] = lambda make=make, steps=steps_after: train(model, [make()], steps)  # type: ignore[misc]
        pairs.append((finder, plain))
    times = {case: np.array(seconds) for case, seconds in seconds_of(runs, rounds).items()}
    return [ratio_of_times("finder", model.name, times, what, against) for what, against in pairs]
