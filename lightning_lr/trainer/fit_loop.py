"""The fit loop of a rehearsal: it continues the progress of another loop, on its own loaders, until it is stopped."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loops.evaluation_loop import _EvaluationLoop
from lightning.pytorch.loops.fetchers import _DataFetcher
from lightning.pytorch.loops.fit_loop import _FitLoop

from lightning_lr.trainer.cached_batches import CachedBatches
from lightning_lr.trainer.lightning_packages import from_package_of
from lightning_lr.trainer.loaders import rehearsal_loaders

FitLoop = _FitLoop


class _StopRehearsal(Exception):  # noqa: N818  # a signal, not an error
    """Raised by the loop to end the training of a rehearsal."""


def rehearsal_fit_loop(
    trainer: Trainer,
    trainer_loop: _FitLoop,
    progress_loop: _FitLoop,
    data: CachedBatches | Mapping[int, Iterable[Any]],
    should_stop: Callable[[], bool],
    should_validate: Callable[[], bool],
    validates_epochs: bool,
) -> _FitLoop:
    """A new fit loop.

    Args:
        trainer: the Trainer that will run it.
        trainer_loop: the Trainer's own loop, whose limits and loaders are used.
        progress_loop: the loop whose progress is continued: the Trainer's own, or one of this rehearsal.
        data: batches to train on, or what to read instead of one-shot streams (see `rehearsal_loaders`).
        should_stop: asked after each batch, and after the validation that follows it, whether to end here.
        should_validate: asked after each batch, whether to run the validation loop now.
        validates_epochs: whether to run it at the end of each epoch at which Lightning would.
    """
    loop = type(trainer_loop)(trainer, trainer_loop.min_epochs, trainer_loop.max_epochs)
    loop.epoch_progress = copy.deepcopy(progress_loop.epoch_progress)
    old = progress_loop.epoch_loop
    first_batch = 0 if progress_loop is trainer_loop else old.batch_progress.current.completed
    new = loop.epoch_loop = _epoch_loop_class(from_package_of(trainer, "loops.training_epoch_loop._TrainingEpochLoop"))(
        trainer, old.min_steps, old.max_steps, should_stop, should_validate, validates_epochs, first_batch
    )
    if progress_loop is not trainer_loop:
        new._results = old._results  # they know which metrics to reset at the end of the epoch
    new.batch_progress = copy.deepcopy(old.batch_progress)
    new.automatic_optimization.optim_progress = copy.deepcopy(old.automatic_optimization.optim_progress)
    new.manual_optimization.optim_step_progress = copy.deepcopy(old.manual_optimization.optim_step_progress)
    new._batches_that_stepped = old._batches_that_stepped
    assert trainer_loop._combined_loader is not None
    if isinstance(data, CachedBatches):
        loop._combined_loader = type(trainer_loop._combined_loader)(data.epochs(first_batch), "min_size")
        # what trainer.train_dataloader gives: a training step may ask for its length, its dataset or its batch size
        loop._combined_loader._iterables = trainer_loop._combined_loader.iterables
    else:
        loop._combined_loader = rehearsal_loaders(trainer_loop._combined_loader, data)
    loop._last_train_dl_reload_epoch = float("inf")  # never reload the loaders
    loop.max_batches = trainer_loop.max_batches
    training = from_package_of(trainer, "trainer.states.RunningStage").TRAINING
    loop._data_fetcher = from_package_of(trainer, "loops.utilities._select_data_fetcher")(trainer, training)
    assert loop._data_fetcher is not None
    loop._data_fetcher.setup(loop._combined_loader)
    return loop


def run_fit_loop(
    trainer: Trainer,
    loop: _FitLoop,
    trainer_loop: _FitLoop,
    is_within_epoch: bool,
    should_stop: Callable[[], bool],
    eval_batches: int | None,
) -> None:
    """Train until ``should_stop``, or until a stream has no more batches. A loader starts again at the end of an epoch.

    Lightning's own ``run`` would call the hooks of a whole training and end at its limits.

    Args:
        trainer: the Trainer, whose fit loop ``loop`` is.
        loop: from `rehearsal_fit_loop`, after its ``reset``.
        trainer_loop: the Trainer's own loop.
        is_within_epoch: whether an epoch goes on that has begun. Perhaps all its batches have been used.
        should_stop: as for `rehearsal_fit_loop`.
        eval_batches: the maximum number of batches of each validation loader, None for no validation.
    """
    val_loop = loop.epoch_loop.val_loop
    try:
        if trainer.current_epoch == 0:  # from the second epoch on, the epoch loop does this itself
            iter(loop._data_fetcher)  # type: ignore[arg-type]
        with torch.autograd.set_detect_anomaly(False):  # a sweep may well end in NaN
            while True:
                batches = loop.total_batch_idx
                epoch_loop: Any = loop.epoch_loop
                is_needed = not epoch_loop._validates_epochs or epoch_loop._should_check_val_epoch()
                _prepare_validation(trainer, trainer_loop.epoch_loop.val_loop, val_loop, eval_batches, is_needed)
                if not is_within_epoch:
                    loop.on_advance_start()
                loop.advance()
                loop.on_advance_end()
                is_empty = loop.total_batch_idx == batches and not is_within_epoch  # a stream has ended
                if is_empty or should_stop():  # a metric of the epoch may have been the last value
                    break
                is_within_epoch = False
    except _StopRehearsal:
        pass
    finally:
        for part in (loop, val_loop):
            # without an iterator, a hook has failed before there was one
            if part._data_fetcher is not None and part._data_fetcher.iterator is not None:
                part._data_fetcher.teardown()  # ends the workers of the rehearsal's loaders


def _prepare_validation(
    trainer: Trainer,
    trainer_val_loop: _EvaluationLoop,
    val_loop: _EvaluationLoop,
    eval_batches: int | None,
    is_needed: bool,
) -> None:
    """Give a validation loop its own copies of the Trainer's validation loaders, once.

    A training step may ask for them, or for their number, also where the loop never runs.

    Args:
        trainer: the Trainer.
        trainer_val_loop: the Trainer's own validation loop.
        val_loop: the loop to prepare.
        eval_batches: the maximum number of batches of each loader, None for no validation.
        is_needed: false if no validation comes in this epoch, so that loaders need not be made for it.
    """
    if val_loop._combined_loader is not None:
        return
    if trainer_val_loop._combined_loader is not None:
        val_loop._combined_loader = trainer_val_loop._combined_loader
        val_loop._max_batches = trainer_val_loop._max_batches
    elif is_needed and eval_batches is not None and trainer_val_loop._data_source.is_defined():  # not loaded yet
        source, val_loop._data_source = val_loop._data_source, trainer_val_loop._data_source
        trainer.validating = True
        val_loop.setup_data()
        trainer.training = True
        val_loop._data_source = source
    if val_loop._combined_loader is None:
        return
    val_loop._combined_loader = rehearsal_loaders(val_loop._combined_loader, {})
    if eval_batches is not None:
        val_loop._max_batches = [min(limit, eval_batches) for limit in val_loop._max_batches]
    val_loop._last_val_dl_reload_epoch = float("inf")  # never reload the loaders


@cache
def _epoch_loop_class(base: Any) -> Any:
    """The epoch loop of a rehearsal, derived from the one of the Trainer's package."""

    class RehearsalEpochLoop(base):  # type: ignore[misc]
        """Runs to the end of the data, and validates when asked. It ignores the Trainer's limits and ``should_stop``.

        Args:
            trainer: the Trainer.
            min_steps: as in Lightning's loop.
            max_steps: as in Lightning's loop.
            should_stop: see `rehearsal_fit_loop`.
            should_validate: see `rehearsal_fit_loop`.
            validates_epochs: see `rehearsal_fit_loop`.
            first_batch: index of the batch with which the first epoch begins.
        """

        def __init__(
            self,
            trainer: Trainer,
            min_steps: int | None,
            max_steps: int,
            should_stop: Callable[[], bool],
            should_validate: Callable[[], bool],
            validates_epochs: bool,
            first_batch: int,
        ) -> None:
            super().__init__(trainer, min_steps, max_steps)
            self._should_stop_rehearsal = should_stop
            self._should_validate = should_validate
            self._validates_epochs = validates_epochs
            self._first_batch = first_batch

        @property
        def done(self) -> bool:
            return bool(self._num_ready_batches_reached())

        def reset(self) -> None:
            super().reset()
            for stage in ("ready", "started", "processed", "completed"):
                setattr(self.batch_progress.current, stage, self._first_batch)
            self._first_batch = 0

        def on_advance_end(self, data_fetcher: _DataFetcher) -> None:
            super().on_advance_end(data_fetcher)
            if self._should_stop_rehearsal():
                raise _StopRehearsal

        def _should_check_val_fx(self, data_fetcher: _DataFetcher) -> bool:
            if self.val_loop._combined_loader is None:
                return False
            ends_epoch = self._validates_epochs and self.batch_progress.is_last_batch and self._should_check_val_epoch()
            return bool(ends_epoch or self._should_validate())

    return RehearsalEpochLoop
