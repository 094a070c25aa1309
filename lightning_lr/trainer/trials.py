"""Runs the trials of a search in one rehearsal, each on the same batches."""

from __future__ import annotations

import math
import random
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch import Trainer

from lightning_lr.search.bracket import Bracket
from lightning_lr.search.trial import Trial
from lightning_lr.trainer.free_memory import free_bytes
from lightning_lr.trainer.lightning_packages import MisconfigurationException
from lightning_lr.trainer.progress_bar import ProgressLine, progress_line
from lightning_lr.trainer.rehearsal import Rehearsal, TrainingState
from lightning_lr.trainer.sweep import Sweep

# Size of a saved state, relative to the parameters. An optimizer makes up to two tensors per parameter in its first
# steps: these two, their copies and the copy of the parameters.
_STATE_SIZE = 5
# Saved states at the same time: of the best four trials, and of the trial that is compared with them.
_MAX_STATES = 5
# The share of the free memory that saved states may use. The rest is for training.
_MEMORY_SHARE = 0.5


class Search:
    """Runs the trials that a `Bracket` asks for. An interrupted search is continued by calling `run` again.

    Every trial, and the reading of the batches, starts from the same random seed. So a search that is continued in
    another process gives the same result as one that was not interrupted.

    Args:
        bracket: which trials to run.
        owner: the name in error messages.
        monitor: a key that the module logs, None for the training loss.
        eval_batches: maximum number of batches of each validation loader.
        limit_batches: training batches to read, a number or a share of an epoch.
        snapshot_device: where copies of the model and the optimizers live, ``"device"`` or ``"cpu"``.
        seed: the random seed; drawn when the search starts if None.
    """

    def __init__(
        self,
        bracket: Bracket,
        owner: str,
        monitor: str | None,
        eval_batches: int,
        limit_batches: float,
        snapshot_device: Literal["device", "cpu"],
        seed: int | None = None,
    ) -> None:
        self.bracket = bracket
        self.seed = seed
        self._owner = owner
        self._monitor = monitor
        self._eval_batches = eval_batches
        self._limit_batches = limit_batches
        self._snapshot_device = snapshot_device

    def run(self, trainer: Trainer) -> None:
        """Run all trials that are still to be run. Call it in a hook in which a `Rehearsal` can be entered.

        Raises:
            ValueError: if all learning rates diverged.
        """
        max_batches = self._max_batches(trainer)
        bracket = self.bracket
        with (
            progress_line(trainer, bracket.most_trials, "LR search") as line,
            Rehearsal(trainer, self._snapshot_device) as rehearsal,
        ):
            if self.seed is None:
                self.seed = trainer.strategy.broadcast(int(torch.randint(2**31, ())))
            self._seed_all()
            rehearsal.cache_batches(max_batches)
            saves_states = self._can_save_states(trainer, rehearsal)
            states: dict[float, TrainingState] = {}  # by learning rate
            while trials := bracket.ask():
                for trial in trials:
                    self._run_trial(trainer, rehearsal, trial, states.pop(trial.lr, None), line)
                    if saves_states and trial.rung == 0:
                        kept = [outcome.lr for outcome in bracket.kept(0)]
                        states = {lr: state for lr, state in states.items() if lr in kept}
                        if trial.lr in kept:
                            states[trial.lr] = rehearsal.save_state()

    def _run_trial(
        self, trainer: Trainer, rehearsal: Rehearsal, trial: Trial, state: TrainingState | None, line: ProgressLine
    ) -> None:
        """Run a trial, from the state in which its last rung ended if there is one."""
        bracket, every = self.bracket, self.bracket.every
        rehearsal.rewind(state)
        earlier: list[float] = []
        if state is None:
            self._seed_all()
        else:
            (before,) = (outcome for outcome in bracket.rungs[trial.rung - 1] if outcome.lr == trial.lr)
            earlier += before.values

        def show(lr: float, value: float) -> None:
            name = self._monitor or "loss"
            line.update(f"lr={lr:.1e}" + (f" {name}={value:.3g}" if math.isfinite(value) else ""), advance=0)

        sweep = Sweep(
            [trial.lr] * (trial.steps // every - len(earlier)),
            owner=self._owner,
            monitor=self._monitor,
            steps_per_lr=every,
            eval_batches=self._eval_batches,
            should_stop=lambda values: bracket.stops(trial, [*earlier, *values]),
            # A failure at the lowest learning rate has another cause than the learning rate.
            points_before_error=None if trial.lr == bracket.min_lr else 1,
            on_point=show,
        )
        result = sweep.run(trainer, rehearsal)
        bracket.tell(trial, [*earlier, *result.values], spent=result.steps, error=result.error)
        line.update(f"lr={trial.lr:.1e}")

    def _seed_all(self) -> None:
        assert self.seed is not None
        random.seed(self.seed)
        np.random.seed(self.seed)  # noqa: NPY002
        torch.manual_seed(self.seed)

    def _max_batches(self, trainer: Trainer) -> int:
        """At most ``limit_batches``, and at most as many as the longest trial uses."""
        limit, epoch = self._limit_batches, trainer.num_training_batches
        if isinstance(limit, float):
            if limit < 1.0 and math.isinf(epoch):
                raise MisconfigurationException(
                    f"{self._owner}(limit_batches={limit}) must be a number of batches, since the training data has no"
                    f" length of which this could be a share: give an integer."
                )
            limit = max(1, math.ceil(limit * epoch)) if math.isfinite(epoch) else math.inf
        return int(min(limit, self.bracket.longest * trainer.accumulate_grad_batches))

    def _can_save_states(self, trainer: Trainer, rehearsal: Rehearsal) -> bool:
        """Whether all saved states fit into the free memory of every rank."""
        needed = _MAX_STATES * _STATE_SIZE * rehearsal.snapshot_bytes
        devices = (trainer.strategy.root_device, torch.device("cpu"))
        fits = all(needed <= _MEMORY_SHARE * free_bytes(device) for device in devices)
        return trainer.strategy.reduce_boolean_decision(fits, all=True)

    def state(self) -> dict[str, Any]:
        """The state for a checkpoint."""
        return {"bracket": self.bracket.state(), "seed": self.seed}
