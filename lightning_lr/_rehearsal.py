"""Training aside: from a snapshot, in a fresh fit loop, after which everything is as it was.

The only file that touches the Trainer's internals. Lightning's own fit loop object is never entered: it is set aside
as it stands, so nothing of it has to be reconstructed.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from lightning.pytorch.loggers import Logger
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.loops.evaluation_loop import _EvaluationLoop
from lightning.pytorch.loops.fetchers import _DataFetcher
from lightning.pytorch.loops.fit_loop import _FitLoop
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.loops.utilities import _select_data_fetcher
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy
from lightning.pytorch.trainer import call
from lightning.pytorch.trainer.connectors.logger_connector.logger_connector import _LoggerConnector
from lightning.pytorch.trainer.states import RunningStage

from lightning_lr._loaders_aside import Stream, is_one_shot, loaders_aside
from lightning_lr._snapshot import Snapshot


class EndOfRehearsal(Exception):  # noqa: N818  # a signal, not an error
    """Raised by the callback of a rehearsal when it has seen enough."""


class Rehearsal:
    """A context in which a Trainer can train aside; leaving it puts everything back, however it is left.

    To be entered in ``on_train_start`` or ``on_train_epoch_start``. Inside, the Trainer has no callbacks but the one
    of the rehearsal (and ``GradientAccumulationScheduler``, which decides what an optimizer step is), loggers that
    drop everything, no scheduler steps and no validation of its own. Epoch and step counters go on from their values.

    Nothing here communicates between processes, so an exception on one rank fails the job as in plain training.

    Args:
        trainer: the Trainer, in ``fit``.
        keep_on: where the snapshot's tensors live, ``"device"`` or ``"cpu"``.
    """

    def __init__(self, trainer: Trainer, keep_on: Literal["device", "cpu"] = "device") -> None:
        self._trainer = trainer
        self._keep_on = keep_on
        self._is_fresh = True  # nothing has been trained since the snapshot

    def __enter__(self) -> Rehearsal:
        trainer = self._trainer
        assert trainer.state.stage is not None
        self._stage: RunningStage = trainer.state.stage
        # callbacks come before the module in every hook, so its own start is still to come
        self._precedes_module_start = trainer.lightning_module._current_fx_name == "on_train_start"
        self._fit_loop = trainer.fit_loop
        self._attributes = dict(vars(trainer))
        self._scheduler_configs, self._model = trainer.strategy.lr_scheduler_configs, trainer.strategy.model
        train_loader = self._fit_loop._combined_loader
        val_loader = self._fit_loop.epoch_loop.val_loop._combined_loader
        assert train_loader is not None
        streams = {i: iterable for i, iterable in enumerate(train_loader.flattened) if is_one_shot(iterable)}
        loaders = [
            loader for combined in (train_loader, val_loader) if combined is not None for loader in combined.flattened
        ]
        self._reshard()
        self._snapshot = Snapshot(
            [
                trainer.lightning_module,
                trainer.optimizers,
                [config.scheduler for config in self._scheduler_configs],
                trainer.strategy._lightning_optimizers,
                getattr(trainer.precision_plugin, "scaler", None),
            ],
            data=[loaders, getattr(trainer, "datamodule", None)],
            leave=(Trainer, Strategy, Logger, Callback),
            untouched=[part for stream in streams.values() for part in (stream, getattr(stream, "dataset", None))],
            keep_on=self._keep_on,
        )
        # as the epoch loop decides whether it asks for a new iterator; older versions of it know nothing of resuming
        is_resuming = getattr(self._fit_loop, "is_resuming", False)
        goes_on = trainer.current_epoch == 0 or self._fit_loop.epoch_loop.restarting or is_resuming
        self._streams = {i: Stream(train_loader, i, goes_on) for i in streams}
        try:
            self._set_aside()
        except BaseException:
            self._restore()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._restore()
        for stream in self._streams.values():
            stream.replay()

    def rewind(self) -> None:
        """Back to the state, the data order and the random states in which the rehearsal was entered."""
        self._restore()
        for stream in self._streams.values():
            stream.rewind()
        self._set_aside()

    def _restore(self) -> None:
        self._reshard()
        self._snapshot.restore()
        trainer = self._trainer
        vars(trainer).clear()
        vars(trainer).update(self._attributes)
        trainer.strategy.lr_scheduler_configs, trainer.strategy.model = self._scheduler_configs, self._model
        trainer.state.stage = self._stage

    def _reshard(self) -> None:
        """Give the module its sharded parameters: after a validation FSDP2 may leave it with gathered ones."""
        if isinstance(self._trainer.strategy, ModelParallelStrategy):
            for module in self._trainer.lightning_module.modules():
                if hasattr(module, "reshard"):
                    module.reshard()  # type: ignore[operator]

    def train(
        self, callback: Callback, validate_when: Callable[[], bool] = lambda: False, eval_batches: int | None = None
    ) -> None:
        """Train from the current state until ``callback`` raises `EndOfRehearsal` or a stream has no more batches.

        The data starts over at the end of an epoch.

        Args:
            callback: the one callback that sees this training.
            validate_when: asked after each batch, whether to run the validation loop now.
            eval_batches: batches of each validation loader at most, None for all of the Trainer's limit.
        """
        trainer: Any = self._trainer
        trainer._logger_connector = _LoggerConnector(trainer)
        schedulers = [c for c in self._attributes["callbacks"] if isinstance(c, GradientAccumulationScheduler)]
        trainer.callbacks = [*schedulers, callback]
        loop = trainer.fit_loop = self._fresh_fit_loop(validate_when)
        val_loop = loop.epoch_loop.val_loop
        try:
            loop.reset()
            if self._is_fresh and self._precedes_module_start:
                call._call_lightning_module_hook(trainer, "on_train_start")  # a training step may rest on it
            self._is_fresh = False
            if trainer.current_epoch == 0:  # from the second epoch on, the epoch loop does this itself
                iter(loop._data_fetcher)  # type: ignore[arg-type]
            batches = None
            with torch.autograd.set_detect_anomaly(False):  # a sweep may well end in NaN
                while batches != (batches := loop.total_batch_idx):  # until an epoch gave none: a stream has ended
                    self._prepare_validation(val_loop, eval_batches)
                    loop.on_advance_start()
                    loop.advance()
                    loop.on_advance_end()
        except EndOfRehearsal:
            pass
        finally:
            for part in (loop, val_loop):
                if part._data_fetcher is not None:
                    part._data_fetcher.teardown()  # the workers of these loaders

    def _set_aside(self) -> None:
        """Take away what must not see or steer the rehearsal."""
        trainer: Any = self._trainer
        self._is_fresh = True
        trainer.should_stop = False
        trainer.loggers = [DummyLogger() for _ in self._attributes["_loggers"]]
        trainer.profiler = PassThroughProfiler()
        if trainer.lightning_module.automatic_optimization:
            # They stay where they are, since a training step may read them, but their moment never comes. In manual
            # optimization the training step moves them itself: what it does to them is undone by the snapshot.
            trainer.strategy.lr_scheduler_configs = [
                dataclasses.replace(config, interval="never") for config in self._scheduler_configs
            ]
        if isinstance(trainer.strategy, DDPStrategy):
            # A DDP wrapper orders its gradients anew after its first step, and sums them in another order from then on.
            trainer.strategy.model = trainer.lightning_module
            trainer.strategy.configure_ddp()
        for optimizer in trainer.optimizers:
            for hooks in (optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks):
                for handle, hook in list(hooks.items()):
                    if getattr(hook, "__module__", "").startswith("lightning_lr."):  # of callbacks that are away
                        del hooks[handle]

    def _fresh_fit_loop(self, validate_when: Callable[[], bool]) -> _FitLoop:
        """A fit loop with the progress and the data of the original one."""
        trainer, original = self._trainer, self._fit_loop
        loop = _FitLoop(trainer, original.min_epochs, original.max_epochs)
        loop.epoch_progress = copy.deepcopy(original.epoch_progress)
        theirs = original.epoch_loop
        ours = loop.epoch_loop = _EpochLoopAside(trainer, theirs.min_steps, theirs.max_steps)
        ours.validate_when = validate_when
        ours.batch_progress = copy.deepcopy(theirs.batch_progress)
        ours.automatic_optimization.optim_progress = copy.deepcopy(theirs.automatic_optimization.optim_progress)
        ours.manual_optimization.optim_step_progress = copy.deepcopy(theirs.manual_optimization.optim_step_progress)
        ours._batches_that_stepped = theirs._batches_that_stepped
        assert original._combined_loader is not None
        loop._combined_loader = loaders_aside(original._combined_loader, self._streams)
        loop._last_train_dl_reload_epoch = float("inf")
        loop.max_batches = original.max_batches
        loop._data_fetcher = _select_data_fetcher(trainer, RunningStage.TRAINING)
        loop._data_fetcher.setup(loop._combined_loader)
        return loop

    def _prepare_validation(self, val_loop: _EvaluationLoop, eval_batches: int | None) -> None:
        """Give the loop the validation data, on loaders of its own. Without a data source it never starts by itself."""
        trainer, original = self._trainer, self._fit_loop.epoch_loop.val_loop
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

    validate_when: Callable[[], bool]

    @property
    def done(self) -> bool:
        return self._num_ready_batches_reached()

    def _should_check_val_fx(self, data_fetcher: _DataFetcher) -> bool:  # noqa: ARG002
        return self.val_loop._combined_loader is not None and self.validate_when()
