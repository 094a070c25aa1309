"""Training aside: from a snapshot, in a fresh fit loop, after which everything is as it was.

The only file that touches the Trainer's internals, `_fit_loop_aside` and `_loaders_aside` those of its loops and
loaders. Lightning's own fit loop object is never entered: it is set aside as it stands, so nothing of it has to be
reconstructed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from lightning.pytorch.loggers import Logger
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy
from lightning.pytorch.trainer import call
from lightning.pytorch.trainer.connectors.logger_connector.logger_connector import _LoggerConnector

from lightning_lr.trainer.fit_loop import Enough, FitLoop, fit_loop_aside, prepare_validation
from lightning_lr.trainer.loaders import Stream, is_one_shot, read_batches
from lightning_lr.trainer.snapshot import Snapshot


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a training aside stands, to go on from there."""

    snapshot: Snapshot
    loop: FitLoop


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
        self._place: Place | None = None  # to go on from
        self._batches: list[Any] | None = None  # to train on instead of the loaders

    def __enter__(self) -> Rehearsal:
        trainer = self._trainer
        assert trainer.state.stage is not None
        self._stage = trainer.state.stage
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
        self._parts = [
            trainer.lightning_module,
            trainer.optimizers,
            [config.scheduler for config in self._scheduler_configs],
            trainer.strategy._lightning_optimizers,
            getattr(trainer.precision_plugin, "scaler", None),
        ]
        self._data = [loaders, getattr(trainer, "datamodule", None)]
        self._read_once = [part for stream in streams.values() for part in (stream, getattr(stream, "dataset", None))]
        self._snapshot = self._take_snapshot()
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

    @property
    def snapshot_bytes(self) -> int:
        """Size of a copy of the state that training changes."""
        return self._snapshot.nbytes

    def rewind(self, place: Place | None = None) -> None:
        """Back to the state, the data order and the random states in which the rehearsal was entered, or to a place."""
        self._restore()
        for stream in self._streams.values():
            stream.rewind()
        self._set_aside()
        self._place = place
        if place is not None:
            place.snapshot.restore()
            self._is_fresh = False

    def place(self) -> Place:
        """Where the latest `train` ended. Only with `keep_batches`: loaders cannot be entered in their midst."""
        assert self._batches is not None
        self._reshard()
        return Place(self._take_snapshot(), self._loop)

    def keep_batches(self, most: float) -> int:
        """Read training batches once, at most those of an epoch; from now on all training is on these, in this order.

        They are held in host memory.

        Args:
            most: how many, infinite for all of an epoch.

        Returns:
            How many there are.
        """
        assert self._fit_loop._combined_loader is not None
        self._batches = read_batches(
            self._fit_loop._combined_loader, self._streams, min(most, self._fit_loop.max_batches)
        )
        return len(self._batches)

    def _take_snapshot(self) -> Snapshot:
        return Snapshot(
            self._parts,
            data=self._data,
            leave=(Trainer, Strategy, Logger, Callback),
            untouched=self._read_once,
            keep_on=self._keep_on,
        )

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
        self,
        callback: Callback,
        is_over: Callable[[], bool],
        validate_when: Callable[[], bool] = lambda: False,
        eval_batches: int | None = None,
    ) -> None:
        """Train from the current state until it is over, or a stream has no more batches.

        The data starts over at the end of an epoch.

        Args:
            callback: the one callback that sees this training.
            is_over: asked after each batch, and the validation behind it, whether to end here.
            validate_when: asked after each batch, whether to run the validation loop now.
            eval_batches: batches of each validation loader at most, None for all of the Trainer's limit.
        """
        trainer: Any = self._trainer
        trainer._logger_connector = _LoggerConnector(trainer)
        schedulers = [c for c in self._attributes["callbacks"] if isinstance(c, GradientAccumulationScheduler)]
        trainer.callbacks = [*schedulers, callback]
        place, self._place = self._place, None
        loop = self._loop = trainer.fit_loop = fit_loop_aside(
            trainer,
            self._fit_loop,
            self._fit_loop if place is None else place.loop,
            self._streams if self._batches is None else self._batches,
            is_over,
            validate_when,
        )
        val_loop = loop.epoch_loop.val_loop
        try:
            loop.reset()
            if self._is_fresh and self._precedes_module_start:
                call._call_lightning_module_hook(trainer, "on_train_start")  # a training step may rest on it
            self._is_fresh = False
            if trainer.current_epoch == 0:  # from the second epoch on, the epoch loop does this itself
                iter(loop._data_fetcher)  # type: ignore[arg-type]
            is_under_way = place is not None  # in the midst of an epoch, or behind its last batch
            with torch.autograd.set_detect_anomaly(False):  # a sweep may well end in NaN
                while True:
                    batches = loop.total_batch_idx
                    prepare_validation(trainer, self._fit_loop.epoch_loop.val_loop, val_loop, eval_batches)
                    if not is_under_way:
                        loop.on_advance_start()
                    loop.advance()
                    loop.on_advance_end()
                    if loop.total_batch_idx == batches and not is_under_way:  # an epoch gave none: a stream has ended
                        break
                    is_under_way = False
        except Enough:
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
