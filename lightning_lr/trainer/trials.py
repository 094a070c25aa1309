"""Runs the trials of a bracket in one rehearsal, each on the same batches."""

from __future__ import annotations

import math
import random
from typing import Any, Literal

import numpy as np
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer

from lightning_lr.search.bracket import Bracket, Trial
from lightning_lr.trainer.free_memory import free_bytes
from lightning_lr.trainer.progress_bar import Progress, progress
from lightning_lr.trainer.rehearsal import Place, Rehearsal
from lightning_lr.trainer.sweep import Sweep

# An optimizer makes up to two tensors for each parameter in its first steps: with the copies of these and of the
# parameters, what is kept of a trial is five times the parameters.
_BYTES_OF_A_PLACE = 5
_PLACES = 5  # of the best four, and of the trial that is compared with them


class Search:
    """A search that can be interrupted: what was told stays, and `run` goes on from there.

    All random states start from one seed in each trial, and in reading the batches. So a search that is taken up in
    another process goes on as if it had never stopped.

    Args:
        bracket: what to run.
        owner: name in messages.
        monitor: a key that the module logs, None for the training loss.
        eval_batches: batches of each validation loader at most.
        limit_batches: training batches to read, a number or a share of an epoch.
        snapshot: where copies of the model and the optimizers live.
        seed: of the random states; drawn when the search starts if None.
    """

    def __init__(
        self,
        bracket: Bracket,
        owner: str,
        monitor: str | None,
        eval_batches: int,
        limit_batches: float,
        snapshot: Literal["device", "cpu"],
        seed: int | None = None,
    ) -> None:
        self.bracket = bracket
        self.seed = seed
        self._owner = owner
        self._monitor = monitor
        self._eval_batches = eval_batches
        self._limit_batches = limit_batches
        self._snapshot = snapshot

    def run(self, trainer: Trainer) -> None:
        """Run all trials that are still to be run; to be called where a `Rehearsal` can be entered.

        Raises:
            ValueError: if all learning rates diverged.
        """
        most_batches = self._most_batches(trainer)
        bracket = self.bracket
        with (
            progress(trainer, bracket.most_trials, "LR search") as bar,
            Rehearsal(trainer, self._snapshot) as rehearsal,
        ):
            if self.seed is None:
                self.seed = trainer.strategy.broadcast(int(torch.randint(2**31, ())))
            self._seed_all()
            rehearsal.keep_batches(most_batches)
            keeps = self._can_keep_places(trainer, rehearsal)
            places: dict[float, Place] = {}
            while trials := bracket.ask():
                for trial in trials:
                    self._run_trial(trainer, rehearsal, trial, places.pop(trial.lr, None), bar)
                    if keeps and trial.rung == 0:
                        kept = [outcome.lr for outcome in bracket.kept(0)]
                        places = {lr: place for lr, place in places.items() if lr in kept}
                        if trial.lr in kept:
                            places[trial.lr] = rehearsal.place()

    def _run_trial(
        self, trainer: Trainer, rehearsal: Rehearsal, trial: Trial, place: Place | None, bar: Progress
    ) -> None:
        """Run a trial, from a place in its midst if there is one."""
        bracket, every = self.bracket, self.bracket.every
        rehearsal.rewind(place)
        earlier: list[float] = []
        if place is None:
            self._seed_all()
        else:
            (before,) = (outcome for outcome in bracket.rungs[trial.rung - 1] if outcome.lr == trial.lr)
            earlier += before.values

        def show(lr: float, value: float) -> None:
            name = self._monitor or "loss"
            bar.update(f"lr={lr:.1e}" + (f" {name}={value:.3g}" if math.isfinite(value) else ""), advance=0)

        sweep = Sweep(
            [trial.lr] * (trial.steps // every - len(earlier)),
            owner=self._owner,
            monitor=self._monitor,
            steps_per_lr=every,
            eval_batches=self._eval_batches,
            stop=lambda values: bracket.stops(trial, [*earlier, *values]),
            progress=show,
        )
        values = sweep.run(trainer, rehearsal)
        bracket.tell(trial, [*earlier, *values], spent=sweep.steps_run)
        bar.update(f"lr={trial.lr:.1e}")

    def _seed_all(self) -> None:
        assert self.seed is not None
        random.seed(self.seed)
        np.random.seed(self.seed)  # noqa: NPY002
        torch.manual_seed(self.seed)

    def _most_batches(self, trainer: Trainer) -> int:
        """No more than asked for, and no more than the longest trial can use."""
        limit, epoch = self._limit_batches, trainer.num_training_batches
        if isinstance(limit, float):
            if limit < 1.0 and math.isinf(epoch):
                raise MisconfigurationException(
                    f"{self._owner}(limit_batches={limit}) must be a number of batches, since the training data has no"
                    f" length of which this could be a share: give an integer."
                )
            limit = max(1, math.ceil(limit * epoch)) if math.isfinite(epoch) else math.inf
        return int(min(limit, self.bracket.longest * trainer.accumulate_grad_batches))

    def _can_keep_places(self, trainer: Trainer, rehearsal: Rehearsal) -> bool:
        """Whether half of the free memory, on every rank, holds the states that would be kept."""
        device = trainer.strategy.root_device
        needed = _PLACES * _BYTES_OF_A_PLACE * rehearsal.snapshot_bytes
        fits = needed <= free_bytes(device) / 2 and needed <= free_bytes(torch.device("cpu")) / 2
        return trainer.strategy.reduce_boolean_decision(fits, all=True)

    def state(self) -> dict[str, Any]:
        """What goes into a checkpoint."""
        return {"bracket": self.bracket.state(), "seed": self.seed}
