"""A fit loop for training aside: with the progress and the data of another one, and an end of its own."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.loops.evaluation_loop import _EvaluationLoop
from lightning.pytorch.loops.fetchers import _DataFetcher
from lightning.pytorch.loops.fit_loop import _FitLoop
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.loops.utilities import _select_data_fetcher
from lightning.pytorch.trainer.states import RunningStage
from lightning.pytorch.utilities.combined_loader import CombinedLoader

from lightning_lr.trainer.loaders import KeptBatches, Stream, loaders_aside

FitLoop = _FitLoop


class Enough(Exception):  # noqa: N818  # a signal, not an error
    """Ends a training aside."""


def fit_loop_aside(
    trainer: Trainer,
    original: _FitLoop,
    counted: _FitLoop,
    data: list[Any] | dict[int, Stream],
    is_over: Callable[[], bool],
    validate_when: Callable[[], bool],
) -> _FitLoop:
    """A fresh loop.

    Args:
        trainer: that will run it.
        original: the Trainer's own, whose limits and loaders are used.
        counted: whose progress is taken over: the original, or one like this that goes on.
        data: batches to train on, or the streams that stand for loaders of the original.
        is_over: asked after each batch, and the validation behind it, whether to end here.
        validate_when: asked after each batch, whether to run the validation loop now.
    """
    loop = _FitLoop(trainer, original.min_epochs, original.max_epochs)
    loop.epoch_progress = copy.deepcopy(counted.epoch_progress)
    theirs = counted.epoch_loop
    ours = loop.epoch_loop = _EpochLoopAside(trainer, theirs.min_steps, theirs.max_steps)
    ours.is_over, ours.validate_when = is_over, validate_when
    ours.first_batch = 0
    if counted is not original:
        ours.first_batch = theirs.batch_progress.current.completed
        ours._results = theirs._results  # which metrics are to be reset at the end of the epoch
    ours.batch_progress = copy.deepcopy(theirs.batch_progress)
    ours.automatic_optimization.optim_progress = copy.deepcopy(theirs.automatic_optimization.optim_progress)
    ours.manual_optimization.optim_step_progress = copy.deepcopy(theirs.manual_optimization.optim_step_progress)
    ours._batches_that_stepped = theirs._batches_that_stepped
    if isinstance(data, list):
        loop._combined_loader = CombinedLoader(KeptBatches(data, ours.first_batch), "min_size")
    else:
        assert original._combined_loader is not None
        loop._combined_loader = loaders_aside(original._combined_loader, data)
    loop._last_train_dl_reload_epoch = float("inf")
    loop.max_batches = original.max_batches
    loop._data_fetcher = _select_data_fetcher(trainer, RunningStage.TRAINING)
    loop._data_fetcher.setup(loop._combined_loader)
    return loop


def prepare_validation(
    trainer: Trainer, original: _EvaluationLoop, val_loop: _EvaluationLoop, eval_batches: int | None
) -> None:
    """Give the loop the validation data, on loaders of its own. Without a data source it never starts by itself."""
    if val_loop._combined_loader is not None or eval_batches is None:
        return
    if original._combined_loader is not None:
        val_loop._combined_loader = original._combined_loader
        val_loop._max_batches = original._max_batches
    elif original._data_source.is_defined():
        source, val_loop._data_source = val_loop._data_source, original._data_source
        trainer.validating = True
        val_loop.setup_data()
        trainer.training = True
        val_loop._data_source = source
    if val_loop._combined_loader is None:
        return
    val_loop._combined_loader = loaders_aside(val_loop._combined_loader, {})
    val_loop._max_batches = [min(limit, eval_batches) for limit in val_loop._max_batches]
    val_loop._last_val_dl_reload_epoch = float("inf")


class _EpochLoopAside(_TrainingEpochLoop):
    """Goes on to the end of the data and validates when asked, whatever the Trainer's limits and signals to stop."""

    is_over: Callable[[], bool]
    validate_when: Callable[[], bool]
    first_batch: int  # of the first epoch

    @property
    def done(self) -> bool:
        return self._num_ready_batches_reached()

    def reset(self) -> None:
        super().reset()
        for stage in ("ready", "started", "processed", "completed"):
            setattr(self.batch_progress.current, stage, self.first_batch)
        self.first_batch = 0

    def on_advance_end(self, data_fetcher: _DataFetcher) -> None:
        super().on_advance_end(data_fetcher)
        if self.is_over():
            raise Enough

    def _should_check_val_fx(self, data_fetcher: _DataFetcher) -> bool:
        return self.val_loop._combined_loader is not None and self.validate_when()
