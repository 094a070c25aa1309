"""A rehearsal: training from a snapshot, after which the Trainer is as it was.

Lightning's own fit loop is never run in a rehearsal. A new loop takes its place in the Trainer, so none of its state
has to be restored.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal

import torch
from lightning.pytorch import Trainer

from lightning_lr.trainer.cached_batches import CachedBatches, read_batches
from lightning_lr.trainer.fit_loop import FitLoop, rehearsal_fit_loop, run_fit_loop
from lightning_lr.trainer.free_memory import free_bytes
from lightning_lr.trainer.isolation import Isolation
from lightning_lr.trainer.lightning_packages import Callback, from_package_of
from lightning_lr.trainer.loaders import ReplayableStream, ending_together, is_one_shot
from lightning_lr.trainer.snapshot import Snapshot
from lightning_lr.trainer.strategies import NOT_SNAPSHOTTED, builtin_hook, communication_states, renew_reducer, sharded

# The share of the free host memory that batches may use. The rest is for training.
_BATCHES_SHARE = 0.25


@dataclasses.dataclass(frozen=True)
class TrainingState:
    """The state of a rehearsal's training, from which it can be continued.

    Attributes:
        snapshot: of the module, the optimizers and all else that training changes.
        loop: with the progress counters.
    """

    snapshot: Snapshot
    loop: FitLoop


class Rehearsal:
    """A context in which a Trainer can train. On exit everything is restored, after an exception too.

    Enter it in ``on_train_start`` or ``on_train_epoch_start``. Inside, the Trainer has only the rehearsal's callback
    (and ``GradientAccumulationScheduler``, which decides what an optimizer step is), loggers that drop everything, no
    scheduler steps and no validation by itself. Epoch and step counters continue from their values.

    All parameters must have values: see `check_no_lazy_parameters`.

    After an exception, the exit does not communicate between processes. So an exception on one rank fails the job, as
    in plain training.

    Args:
        trainer: a Trainer in ``fit``.
        snapshot_device: where the snapshot's tensors live, ``"device"`` or ``"cpu"``.
    """

    def __init__(self, trainer: Trainer, snapshot_device: Literal["device", "cpu"] = "device") -> None:
        self._trainer = trainer
        self._snapshot_device = snapshot_device
        self._has_trained = False  # since the snapshot was taken or restored
        self._continue_from: TrainingState | None = None  # the start of the next `train`
        self._batches: CachedBatches | None = None  # to train on instead of the loaders

    def __enter__(self) -> Rehearsal:
        trainer = self._trainer
        # In every hook callbacks come before the module, so the module's own on_train_start has not run yet.
        self._precedes_module_start = trainer.lightning_module._current_fx_name == "on_train_start"
        # A DDP reducer that has trained does not change any more, but for an error in the backward pass of one process.
        # One that has not gives way to a new one after each training.
        self._renews_reducer = self._precedes_module_start or trainer.world_size == 1
        self._builtin_hook = builtin_hook(trainer)
        self._fit_loop = trainer.fit_loop
        self._isolation = Isolation(trainer)
        train_loader = self._fit_loop._combined_loader
        val_loader = self._fit_loop.epoch_loop.val_loop._combined_loader
        assert train_loader is not None
        streams = {i: iterable for i, iterable in enumerate(train_loader.flattened) if is_one_shot(iterable)}
        loaders = [
            loader for combined in (train_loader, val_loader) if combined is not None for loader in combined.flattened
        ]
        self._snapshot_roots = [
            trainer.lightning_module,
            trainer.optimizers,
            [config.scheduler for config in self._isolation.scheduler_configs],
            trainer.strategy._lightning_optimizers,
            getattr(trainer.precision_plugin, "scaler", None),
            communication_states(trainer),
        ]
        self._snapshot_data = [loaders, getattr(trainer, "datamodule", None)]
        self._not_snapshotted = [
            part for stream in streams.values() for part in (stream, getattr(stream, "dataset", None))
        ]
        self._snapshot = self._take_snapshot(self._snapshot_data)
        # The condition under which Lightning's epoch loop keeps its iterator; is_resuming is not in all versions.
        is_resuming = getattr(self._fit_loop, "is_resuming", False)
        in_use = trainer.current_epoch == 0 or self._fit_loop.epoch_loop.restarting or is_resuming
        self._streams = {i: ReplayableStream(train_loader, i, in_use) for i in streams}
        try:
            self._isolate()
        except BaseException:
            self._restore()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._restore()
        if kind is None and self._renews_reducer:
            renew_reducer(self._trainer, self._builtin_hook)
        for stream in self._streams.values():
            stream.hand_to_training()

    @property
    def snapshot_bytes(self) -> int:
        """Size of a copy of all tensors that training changes, in bytes."""
        return self._snapshot.nbytes

    def rewind(self, state: TrainingState | None = None) -> None:
        """Restore parameters, data order and random states as they were on entry, or in a saved state."""
        self._restore()
        for stream in self._streams.values():
            stream.rewind()
        self._isolate()
        self._continue_from = state
        if state is not None:
            state.snapshot.restore()
            self._has_trained = True

    def save_state(self) -> TrainingState:
        """The state after the latest `train`.

        Needs `cache_batches` before: a loader cannot be entered in the middle of an epoch.
        """
        assert self._batches is not None
        return TrainingState(self._take_snapshot([]), self._loop)

    def cache_batches(self, max_batches: float) -> int:
        """Read training batches into host memory. From now on all training is on these, in this order.

        They take at most a quarter of the free host memory, except that at least one is read.

        Args:
            max_batches: maximum number of batches, infinite for all of an epoch.

        Returns:
            The number of batches, the same on all ranks.
        """
        assert self._fit_loop._combined_loader is not None
        strategy = self._trainer.strategy
        batches = read_batches(
            self._fit_loop._combined_loader,
            self._streams,
            min(max_batches, self._fit_loop.max_batches),
            _BATCHES_SHARE * free_bytes(torch.device("cpu")) / max(1, self._trainer.world_size),
        )
        number = torch.tensor(float(len(batches)), device=strategy.root_device)
        self._batches = CachedBatches(batches[: int(strategy.reduce(number, reduce_op="min"))])
        return len(self._batches)

    @property
    def batches(self) -> CachedBatches:
        """What `cache_batches` has read."""
        assert self._batches is not None
        return self._batches

    def train(
        self,
        callback: Callback,
        should_stop: Callable[[], bool],
        should_validate: Callable[[], bool] = lambda: False,
        eval_batches: int | None = None,
    ) -> None:
        """Train from the current state until ``should_stop``, or until a stream has no more batches.

        A loader starts again at the end of an epoch. A module that overrides ``on_train_epoch_end`` may read a metric
        of the validation there. So for it an epoch ends with a validation where Lightning would have one, of as many
        batches as the sanity check has, unless ``eval_batches`` is given. A one-shot stream is not read for that.

        Args:
            callback: the only callback that is called.
            should_stop: asked after each batch, and after the validation that follows it, whether to end here.
            should_validate: asked after each batch, whether to run the validation loop now.
            eval_batches: the maximum number of batches of each validation loader, None for no validation.
        """
        trainer: Any = self._trainer
        self._isolation.call_only(callback)
        is_overridden = from_package_of(trainer, "utilities.model_helpers.is_overridden")
        validates_epochs = eval_batches is None and is_overridden("on_train_epoch_end", trainer.lightning_module)
        if validates_epochs:
            eval_batches = trainer.num_sanity_val_steps or 1
        state, self._continue_from = self._continue_from, None
        loop = self._loop = trainer.fit_loop = rehearsal_fit_loop(
            trainer,
            self._fit_loop,
            self._fit_loop if state is None else state.loop,
            ending_together(self._streams, trainer) if self._batches is None else self._batches,
            should_stop,
            should_validate,
            validates_epochs,
        )
        loop.reset()
        if not self._has_trained and self._precedes_module_start:
            # a training step may depend on it
            call_hook = from_package_of(trainer, "trainer.call._call_lightning_module_hook")
            call_hook(trainer, "on_train_start")
        self._has_trained = True
        is_within_epoch = state is not None  # perhaps after its last batch
        run_fit_loop(trainer, loop, self._fit_loop, is_within_epoch, should_stop, eval_batches)

    def _take_snapshot(self, data: list[Any]) -> Snapshot:
        """A snapshot of the module, the optimizers and of data, which trainings on cached batches do not read."""
        with sharded(self._trainer):
            return Snapshot(
                self._snapshot_roots,
                data=data,
                skipped_types=NOT_SNAPSHOTTED,
                skipped=self._not_snapshotted,
                snapshot_device=self._snapshot_device,
            )

    def _restore(self) -> None:
        """Restore the module, the optimizers and the Trainer as they were on entry."""
        with sharded(self._trainer):
            self._snapshot.restore()
        self._isolation.end()

    def _isolate(self) -> None:
        """Remove from the Trainer what must not see or influence the rehearsal."""
        self._has_trained = False
        self._isolation.begin()
        if self._renews_reducer:
            renew_reducer(self._trainer, self._builtin_hook)
