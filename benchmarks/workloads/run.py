"""A run of a contestant on a workload: finding a learning rate and training share one budget of steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from lightning.pytorch import Callback, LightningModule, Trainer

from benchmarks.suite.finders import find
from benchmarks.suite.scheduled import Schedule
from benchmarks.suite.setting import MakeOptimizers, Setting
from benchmarks.suite.training import train

EVALUATIONS = 40  # of the validation loss, in as many steps as a target was set with
Finder = TypeVar("Finder", bound=Callback)


@dataclass
class Run:
    """One run. A contestant calls `find` if it looks for a learning rate, and then `fit` once.

    Attributes:
        setting: the workload.
        seed: of the weights and of the batches.
        budget: optimizer steps for all that the contestant does.
        steps_per_evaluation: the validation loss is measured after each of so many steps.
        target: validation loss that ends the run. None: the run uses its whole budget.
        steps: optimizer steps made so far, those of finding included.
        steps_to_find: those of finding alone.
        reached: steps after which the target was reached, None if it was not.
        losses: validation losses of the training.
    """

    setting: Setting
    seed: int
    budget: int
    steps_per_evaluation: int
    target: float | None = None
    steps: int = 0
    steps_to_find: int = 0
    reached: int | None = None
    losses: list[float] = field(default_factory=list)

    @property
    def best(self) -> float:
        """The lowest validation loss, infinite if there is none."""
        return min((loss for loss in self.losses if math.isfinite(loss)), default=math.inf)

    def find(self, finder: Finder) -> Finder:
        """Run a callback that finds a learning rate for a run of the whole budget. Its steps count."""
        found, steps = find(self.setting, self.seed, finder, self.budget)
        self.steps += steps
        self.steps_to_find += steps
        return found

    def fit(
        self,
        lr: float,
        schedule: Schedule = "alone",
        callbacks: Sequence[Callback] = (),
        optimizers: MakeOptimizers | None = None,
    ) -> None:
        """Train with what is left of the budget, from the first weights on, until the target is reached.

        Args:
            lr: learning rate, or the peak of the schedule.
            schedule: what moves the learning rate, unless a callback does.
            callbacks: those of the contestant.
            optimizers: makes the optimizers of the contestant, None for those of the workload.
        """
        setting = self.setting if optimizers is None else replace(self.setting, optimizers=optimizers)
        left = self.budget - self.steps
        if left > 0:
            train(setting, self.seed, lr, schedule, left, lambda: [*callbacks, _Evaluation(self)])


class _Evaluation(Callback):
    """Measures the validation loss of a run, and ends it when the target is reached."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        run = self.run
        run.steps += 1
        if run.steps % run.steps_per_evaluation and run.steps < run.budget:
            return
        _call_each(trainer, "eval")  # schedule-free optimizers have other weights to evaluate than to train
        run.losses.append(run.setting.validation_loss(pl_module.model))  # type: ignore[arg-type]
        _call_each(trainer, "train")
        if run.target is not None and run.losses[-1] <= run.target:
            run.reached = run.steps
            trainer.should_stop = True


def _call_each(trainer: Trainer, name: str) -> None:
    for optimizer in trainer.optimizers:
        method: Callable[[], None] | None = getattr(optimizer, name, None)
        if method is not None:
            method()
