"""`lr_range_test` and `lr_search`: functions that find a learning rate before `fit`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer

from lightning_lr.arguments import ArgumentRule, anything, checked, instance_of, refuse
from lightning_lr.callbacks.lr_range_test import LRRangeTest, RangeTestResult
from lightning_lr.callbacks.lr_search import LRSearch
from lightning_lr.search.result import SearchResult
from lightning_lr.trainer.lightning_packages import Callback, either, from_package_of
from lightning_lr.trainer.muted_loggers import muted_loggers
from lightning_lr.trainer.snapshot import Snapshot
from lightning_lr.trainer.strategies import trains_in_this_process

# They decide what is trained and what a step is, or show progress. No other callback of the user is called.
_KEPT_CALLBACKS = (
    *either("callbacks.BaseFinetuning"),
    *either("callbacks.GradientAccumulationScheduler"),
    *either("callbacks.ProgressBar"),
)
_PROGRESS_BARS = either("callbacks.ProgressBar")


def _module(name: str, value: Any) -> Any:
    if not isinstance(getattr(value, "_orig_mod", value), either("LightningModule")):  # of one that was compiled
        raise refuse(name, "be a LightningModule", value)
    return value


_TRAINING: dict[str, ArgumentRule] = {
    "trainer": instance_of(*either("Trainer"), what="a Trainer of lightning.pytorch or pytorch_lightning"),
    "model": _module,
    "train_dataloaders": anything,  # these three Trainer.fit checks
    "val_dataloaders": anything,
    "datamodule": anything,
}


@checked(**_TRAINING)
def lr_range_test(
    trainer: Trainer,
    model: LightningModule,
    train_dataloaders: Any = None,
    val_dataloaders: Any = None,
    datamodule: Any = None,
    **arguments: Any,
) -> RangeTestResult:
    """Run a range test before ``fit``. The Trainer, the model and the data are left as they were.

    Nothing is set: take ``result.lr``. The loggers and all callbacks but progress bars and those that freeze layers or
    accumulate gradients are left out. Memory holds two copies of the model while the test runs. A stream that can be
    read only once is read.

    Args:
        trainer: as for ``fit``, whose length the learning rate is for.
        model: the module.
        train_dataloaders: as for ``trainer.fit``.
        val_dataloaders: as for ``trainer.fit``; needed for a ``monitor`` of the validation.
        datamodule: as for ``trainer.fit``.
        **arguments: of `LRRangeTest`, but for ``apply`` and ``at_epochs``.

    Raises:
        ValueError: for a bad argument, or a Trainer that does not train in this process.
        RuntimeError: if the Trainer does not train, as with ``max_epochs=0``.
    """
    _check_names(arguments, "apply", "at_epochs")
    test = LRRangeTest(apply=False, **arguments)
    run_before_fit(test, trainer, model, train_dataloaders, val_dataloaders, datamodule)
    assert test.result is not None
    return test.result


@checked(**_TRAINING)
def lr_search(
    trainer: Trainer,
    model: LightningModule,
    train_dataloaders: Any = None,
    val_dataloaders: Any = None,
    datamodule: Any = None,
    **arguments: Any,
) -> SearchResult:
    """Run a search before ``fit``, as `lr_range_test` runs a range test.

    Args:
        trainer: as for ``fit``, whose length the learning rate is for.
        model: the module.
        train_dataloaders: as for ``trainer.fit``.
        val_dataloaders: as for ``trainer.fit``; needed for a ``monitor`` of the validation.
        datamodule: as for ``trainer.fit``.
        **arguments: of `LRSearch`, but for ``apply``.

    Raises:
        ValueError: for a bad argument, or a Trainer that does not train in this process.
        RuntimeError: if the Trainer does not train, as with ``max_epochs=0``.
    """
    _check_names(arguments, "apply")
    search = LRSearch(apply=False, **arguments)
    run_before_fit(search, trainer, model, train_dataloaders, val_dataloaders, datamodule)
    assert search.result is not None
    return search.result


class _EndFit(Callback):
    """Ends ``fit`` when training would begin. Lightning then calls its teardown hooks, and nothing else."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        end: type[Exception] = from_package_of(trainer, "utilities.exceptions._TunerExitException")
        raise end


def run_before_fit(
    finder: LRRangeTest | LRSearch,
    trainer: Trainer,
    model: LightningModule,
    train_dataloaders: Any = None,
    val_dataloaders: Any = None,
    datamodule: Any = None,
) -> RangeTestResult | SearchResult:
    """Let a finder find its result, which is returned, with the arguments and the errors of `lr_range_test`."""
    name = type(finder).__name__
    if vars(trainer)["fast_dev_run"]:
        raise ValueError(f"{name} needs full training, and Trainer(fast_dev_run=...) is set: leave it out.")
    if not trains_in_this_process(trainer):
        raise ValueError(f"trainer must train in this process, which its strategy does not: use {name} as a callback.")
    with _restored(trainer, model, [train_dataloaders, val_dataloaders, datamodule]):
        _isolate(trainer, finder)
        trainer.fit(model, train_dataloaders, val_dataloaders, datamodule)
        finder.lr_tracer.stop()  # the fit ended as training began, without the hooks that stop it
    if finder.result is None:
        raise RuntimeError(
            "The Trainer ended before training began, so nothing was tested: look at max_epochs, max_steps and"
            " limit_train_batches."
        )
    return finder.result


@contextmanager
def _restored(trainer: Trainer, model: LightningModule, data: list[Any]) -> Iterator[None]:
    """Restore the Trainer, the model, the data and the random states on exit, after an exception too."""
    if trainer.strategy.root_device.type == "cuda":
        torch.cuda.init()  # type: ignore[no-untyped-call]  # before that its random state cannot be kept
    not_called = [callback for callback in vars(trainer)["callbacks"] if not isinstance(callback, _KEPT_CALLBACKS)]
    snapshot = Snapshot([trainer, model], data=data, skipped=not_called, skipped_types=either("loggers.Logger"))
    try:
        yield
    finally:
        snapshot.restore()


def _isolate(trainer: Any, finder: Callback) -> None:
    """Replace what must not see the test. Progress bars come last, so that they begin no bar of a training."""
    kept = [callback for callback in trainer.callbacks if isinstance(callback, _KEPT_CALLBACKS)]
    bars = [callback for callback in kept if isinstance(callback, _PROGRESS_BARS)]
    trainer.callbacks = [*(each for each in kept if each not in bars), finder, _EndFit(), *bars]
    trainer.loggers = muted_loggers(trainer)
    trainer.profiler = from_package_of(trainer, "profilers.PassThroughProfiler")()
    trainer.num_sanity_val_steps = 0


def _check_names(arguments: dict[str, Any], *excluded: str) -> None:
    for name in excluded:
        if name in arguments:
            raise ValueError(
                f"{name} must be left out, got {arguments[name]!r}: the test runs before the run and sets nothing. Use"
                f" the callback for it."
            )
