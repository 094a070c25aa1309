"""A run with a rehearsal and a run without one, and a comparison of everything in which they could differ."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_lr.trainer.rehearsal import Rehearsal
from lightning_lr.trainer.sweep import Sweep
from tests.helpers.chosen_device import ACCELERATOR
from tests.helpers.equal_lrs import EqualLRs
from tests.helpers.lightning_classes import (
    Callback,
    CSVLogger,
    LightningDataModule,
    LightningModule,
    TensorBoardLogger,
    Trainer,
    seed_everything,
)
from tests.helpers.reachable_state import assert_equal, contents, flatten, is_function, random_states
from tests.helpers.stateful_model import StatefulClassifier, loader

WILD_LRS = tuple(10.0 ** (-3 + 4 * i) for i in range(10))  # from 1e-3 to 1e33: losses become huge, infinite and NaN
# Warnings of Lightning about tiny runs.
EXPECTED_WARNINGS = [
    pytest.mark.filterwarnings(f"ignore:{message}")
    for message in (
        "The '.*_dataloader' does not have many workers",
        "The number of training batches .* is smaller than the logging interval",
        "Found .* module.* in eval mode at the start of training",
        "This process .* is multi-threaded, use of fork",
    )
]
QUIET: dict[str, Any] = {
    "accelerator": ACCELERATOR,
    "devices": 1,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "enable_checkpointing": False,
}


def guarded_state(trainer: Trainer) -> dict[str, object]:
    """Everything that a rehearsal must restore."""
    loop = trainer.fit_loop
    val_loader = loop.epoch_loop.val_loop._combined_loader
    return flatten(
        module=trainer.lightning_module,
        optimizers=trainer.optimizers,
        schedulers=trainer.lr_scheduler_configs,
        scaler=getattr(trainer.precision_plugin, "scaler", None),
        loops=loop.state_dict(),
        batches_that_stepped=loop.epoch_loop._batches_that_stepped,
        results=dict(loop.epoch_loop._results),
        metrics=[dict(trainer.callback_metrics), dict(trainer.logged_metrics), dict(trainer.progress_bar_metrics)],
        trainer={
            name: value
            for name, value in vars(trainer).items()
            if isinstance(value, (bool, int, float, str, type(None)))
            and name not in ("_default_root_dir", "_last_val_time")
        },
        stage=str(trainer.state),
        train_loader=getattr(loop._combined_loader, "flattened", None),
        val_loader=getattr(val_loader, "flattened", None),
        datamodule=getattr(trainer, "datamodule", None),
    )


class TrainingRecorder(Callback):
    """Records batches, losses, learning rates and random states of the training. It is not called in a rehearsal."""

    def __init__(self) -> None:
        self.events: list[object] = []
        self.end: dict[str, object] = {}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        rates = [group["lr"] for optimizer in trainer.optimizers for group in optimizer.param_groups]
        self.events.append(("train", batch_idx, trainer.global_step, _digest(outputs), _digest(batch), _digest(rates)))
        self.events.append(_digest(random_states()))

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self.events.append(("validate", batch_idx, dataloader_idx, _digest(batch), trainer.global_step))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.end = {**contents(guarded_state(trainer)), **random_states()}

    def seen(self) -> dict[str, object]:
        return {**{f"event {i}": event for i, event in enumerate(self.events)}, **self.end}


def _digest(obj: object) -> str:
    return hashlib.md5(repr(contents(flatten(obj=obj))).encode()).hexdigest()


class Rehearse(Callback):
    """Runs a sweep to huge learning rates in a rehearsal, and checks that everything is restored."""

    def __init__(
        self,
        lrs: Sequence[float] = WILD_LRS,
        at_epochs: Iterable[int] = (0,),
        snapshot_device: Literal["device", "cpu"] = "device",
        times: int = 1,
        rewinds: int = 0,
        is_stream: bool = False,
        **sweep: Any,
    ) -> None:
        self.lrs, self.at_epochs, self.snapshot_device = lrs, at_epochs, snapshot_device
        self.times, self.rewinds, self.is_stream, self.sweep = times, rewinds, is_stream, sweep
        self.values: list[list[float]] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if 0 in self.at_epochs:
            self.rehearse(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch in self.at_epochs and trainer.current_epoch > 0:
            self.rehearse(trainer)

    def rehearse(self, trainer: Trainer) -> None:
        for _ in range(self.times):
            objects = guarded_state(trainer)
            before, states = contents(objects), random_states()
            try:
                with Rehearsal(trainer, self.snapshot_device) as rehearsal:
                    for attempt in range(self.rewinds + 1):
                        if attempt:
                            rehearsal.rewind()
                        sweep = Sweep(self.lrs, owner="Rehearse", **self.sweep)
                        self.values.append(sweep.run(trainer, rehearsal).values)
            finally:
                self.compare(objects, before, guarded_state(trainer))
                assert_equal(random_states(), states)

    def compare(self, objects: dict[str, object], before: dict[str, object], after: dict[str, object]) -> None:
        self.assert_equal(contents(after), before)
        for path, obj in objects.items():
            if path.startswith(("module", "optimizers", "schedulers")) and not is_function(obj):
                assert obj is after[path] or isinstance(obj, (int, float, str, bytes, tuple)), f"{path} was replaced"

    def assert_equal(self, with_: Mapping[str, object], without: Mapping[str, object]) -> None:
        if self.is_stream:  # its batches are read ahead
            with_, without = (
                {path: value for path, value in seen.items() if not path.startswith("train_loader")}
                for seen in (with_, without)
            )
        assert_equal(with_, without)


@dataclass
class Run:
    """A setting. Its objects are made for each of the two runs, after seeding."""

    module: Callable[[], LightningModule] = StatefulClassifier
    train: Callable[[], Any] | None = loader
    val: Callable[[], Any] | None = None
    datamodule: Callable[[], LightningDataModule] | None = None
    trainer: Callable[[], dict[str, Any]] = dict  # arguments besides QUIET
    fit: Mapping[str, Any] = field(default_factory=dict)
    rehearse: Mapping[str, Any] = field(default_factory=dict)  # arguments of Rehearse

    def build(self, folder: Path, *callbacks: Callback) -> tuple[Trainer, dict[str, Any]]:
        """A Trainer and the arguments of its ``fit``."""
        seed_everything(1, verbose=False)
        fit: dict[str, Any] = {"model": self.module(), **self.fit}
        for name, make in (
            ("train_dataloaders", self.train),
            ("val_dataloaders", self.val),
            ("datamodule", self.datamodule),
        ):
            if make is not None:
                fit[name] = make()
        loggers = [CSVLogger(str(folder), "csv", version=0), TensorBoardLogger(str(folder), "tb", version=0)]
        options = {"max_epochs": 2, "logger": loggers, "log_every_n_steps": 2, **QUIET, **self.trainer()}
        options["callbacks"] = [*callbacks, *options.get("callbacks", [])]
        if options["devices"] != 1:
            options["callbacks"].append(EqualLRs())
        return Trainer(default_root_dir=folder, **options), fit


def record(run: Run, folder: Path, *callbacks: Callback) -> dict[str, object]:
    """Train and return everything that can be compared."""
    recorder = TrainingRecorder()
    trainer, fit = run.build(folder, *callbacks, recorder)
    trainer.fit(**fit)
    trainer.save_checkpoint(folder / "end.ckpt")
    trainer.strategy.barrier()
    checkpoint = torch.load(folder / "end.ckpt", weights_only=False)
    return {
        **recorder.seen(),
        **contents(flatten(after_fit=fit["model"])),
        **contents(flatten(checkpoint=checkpoint)),
        **random_states(),
        **(_files(folder) if trainer.is_global_zero else {}),
    }


def _files(folder: Path) -> dict[str, object]:
    """The files of a run: texts, TensorBoard's scalars, and the names of other files."""
    files: dict[str, object] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = str(path.relative_to(folder))
        if "tfevents" in name:
            events = EventAccumulator(str(path)).Reload()
            files["scalars"] = {
                tag: [(event.step, repr(event.value)) for event in events.Scalars(tag)]
                for tag in events.Tags()["scalars"]
            }
        else:
            files[name] = path.read_text() if path.suffix in (".csv", ".yaml") else "a file"
    return files


def assert_no_trace(tmp_path: Path, run: Run, kind: type[Rehearse] = Rehearse) -> Rehearse:
    """Check that the run with a rehearsal equals the run without one. Returns the rehearsal."""
    rehearse = kind(**run.rehearse)
    without = record(run, tmp_path / "without")
    with_ = record(run, tmp_path / "with", rehearse)
    assert "event 2" in without
    assert rehearse.values, "there was no rehearsal"
    rehearse.assert_equal(with_, without)
    return rehearse
