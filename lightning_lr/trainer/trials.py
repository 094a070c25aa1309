"""Runs the trials of a search in one rehearsal, each on the same batches."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_warn

from lightning_lr.search.bracket import Bracket
from lightning_lr.search.trial import Trial
from lightning_lr.trainer.bad_batches import first_bad_step
from lightning_lr.trainer.free_memory import free_bytes
from lightning_lr.trainer.lightning_packages import MisconfigurationException
from lightning_lr.trainer.progress_bar import progress_line
from lightning_lr.trainer.rehearsal import Rehearsal, TrainingState
from lightning_lr.trainer.sweep import Sweep
from lightning_lr.trainer.time_left import TimeLeft
from lightning_lr.trainer.trial_progress import TrialProgress

# Size of a saved state, relative to the parameters. An optimizer makes up to two tensors per parameter in its first
# steps: these two, their copies and the copy of the parameters.
_STATE_SIZE = 5
# Saved states at the same time: of the best trial and its two neighbours, and of the one that is compared with them.
_MAX_STATES = 4
# The share of the free memory that saved states may use. The rest is for training.
_MEMORY_SHARE = 0.5
# Steps whose batches are left out because the loss on them is not finite before any training. More of them are a fault
# of the data or of the model.
_MOST_BAD_BATCHES = 3


class _EndOfTrial(NamedTuple):
    """Where a trial ended, from which a longer one goes on.

    Attributes:
        state: of the training.
        values: what was recorded until then, from the common state on.
    """

    state: TrainingState
    values: list[float]


def _steps_done(states: dict[float, _EndOfTrial], trial: Trial, every: int) -> int:
    """Optimizer steps of a trial that need not be run, since a shorter one has run them."""
    return len(states[trial.lr].values) * every if trial.lr in states else 0


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
        bad_steps: optimizer steps whose batches are left out, as an interrupted search has found them.
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
        bad_steps: Sequence[int] = (),
    ) -> None:
        self.bracket = bracket
        self.seed = seed
        self._bad_steps = list(bad_steps)
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
            progress_line(trainer, bracket.num_planned, "LR search") as line,
            Rehearsal(trainer, self._snapshot_device) as rehearsal,
        ):
            if self.seed is None:
                self.seed = trainer.strategy.broadcast(int(torch.randint(2**31, ())))
            self._seed_all()
            rehearsal.cache_batches(max_batches)
            for step in self._bad_steps:
                rehearsal.batches.leave_out(step, trainer.accumulate_grad_batches)
            saves_states = self._can_save_states(trainer, rehearsal)
            if not bracket.told:
                bracket.resumes_trials = saves_states
            states: dict[float, _EndOfTrial] = {}  # by learning rate
            clock = TimeLeft()
            while trials := bracket.ask():
                for i, trial in enumerate(trials):
                    line.total = bracket.num_planned
                    waiting = sum(each.steps - _steps_done(states, each, bracket.every) for each in trials[i + 1 :])
                    progress = TrialProgress(line, clock, trial, bracket.every, waiting, self._monitor or "loss")
                    values = self._run_trial(trainer, rehearsal, trial, states.pop(trial.lr, None), progress)
                    if saves_states and bracket.may_continue(trial.lr):
                        states[trial.lr] = _EndOfTrial(rehearsal.save_state(), values)
                    states = {lr: state for lr, state in states.items() if bracket.may_continue(lr)}

    def _run_trial(
        self, trainer: Trainer, rehearsal: Rehearsal, trial: Trial, shorter: _EndOfTrial | None, progress: TrialProgress
    ) -> list[float]:
        """Run a trial, from the state in which a shorter one with its learning rate ended if there is one.

        Returns:
            The value of every step, also of those that were run after the trial was stopped.
        """
        bracket, every = self.bracket, self.bracket.every
        state, earlier = shorter or (None, [])

        sweep = Sweep(
            [trial.lr] * (trial.steps // every - len(earlier)),
            owner=self._owner,
            monitor=self._monitor,
            steps_per_lr=every,
            eval_batches=self._eval_batches,
            should_stop=lambda values: bracket.stops(trial, [*earlier, *values]),
            # A failure at the lowest learning rate has another cause than the learning rate.
            points_before_error=None if trial.lr == bracket.min_lr else 1,
            on_point=progress.point,
        )
        while True:
            progress.begin(len(earlier) * every)
            rehearsal.rewind(state)
            if state is None:
                self._seed_all()
            result = sweep.run(trainer, rehearsal)
            values = [*earlier, *result.values]
            if result.error is not None or not self._leaves_out_bad_batch(trainer, rehearsal, trial, values):
                break
        bracket.tell(trial, values, spent=result.steps, error=result.error)
        progress.end()
        return [*values, *result.later]

    def _leaves_out_bad_batch(
        self, trainer: Trainer, rehearsal: Rehearsal, trial: Trial, values: Sequence[float]
    ) -> bool:
        """Leave the batch out at which the first trial of a rung became NaN all at once, if it is NaN by itself.

        The other trials of a rung meet the same batches.

        Returns:
            Whether there was one. The trial is then to be run once more.
        """
        if self._monitor is not None or any(outcome.trial.rung == trial.rung for outcome in self.bracket.told):
            return False
        step = first_bad_step(values)
        if step is None or len(self._bad_steps) == _MOST_BAD_BATCHES:
            return False
        if self._is_finite_at_start(trainer, rehearsal, step):
            return False
        if not rehearsal.batches.leave_out(step, trainer.accumulate_grad_batches):
            return False
        self._bad_steps.append(step)
        rank_zero_warn(
            f"{self._owner}: the loss of a training batch (the one of step {step}) is not finite before any training:"
            f" it is left out of the search. Training will meet it."
        )
        return True

    def _is_finite_at_start(self, trainer: Trainer, rehearsal: Rehearsal, step: int) -> bool:
        """Whether the loss of the batches of a step is finite with the weights of the common state."""
        with rehearsal.batches.only_step(step, trainer.accumulate_grad_batches):
            rehearsal.rewind()
            self._seed_all()
            first = Sweep([self.bracket.min_lr], self._owner, points_before_error=0)
            return math.isfinite(first.run(trainer, rehearsal).values[0])

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
        return {"bracket": self.bracket.state(), "seed": self.seed, "bad_steps": list(self._bad_steps)}
