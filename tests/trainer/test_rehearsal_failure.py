"""A rehearsal that ends with an error, and that no rehearsal leaves tensors, workers, files or hooks behind."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lightning_lr.trainer.rehearsal import Rehearsal
from lightning_lr.trainer.sweep import Sweep
from tests.helpers.lightning_classes import Callback, LightningModule, SIGTERMException, Trainer
from tests.helpers.reachable_state import assert_equal
from tests.helpers.rehearsal_check import EXPECTED_WARNINGS, WILD_LRS, Rehearse, Run, TrainingRecorder
from tests.helpers.stateful_model import StatefulClassifier, dataset, loader, val_loader

pytestmark = EXPECTED_WARNINGS

FAILURE = {"is on": True}


def fail(kind: str) -> None:
    if FAILURE["is on"]:
        if kind == "sigterm":
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            raise {"error": ValueError, "ctrl-c": KeyboardInterrupt, "memory": MemoryError}[kind]("the user's own")


class Failing(StatefulClassifier):
    """Fails in the tenth step or validation step of the sweep."""

    def __init__(self, kind: str, hook: str) -> None:
        super().__init__("adam", "step")
        self.kind, self.hook, self.validated = kind, hook, 0

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        if self.hook == "training_step" and self.count == 10:
            fail(self.kind)
        return loss

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        super().validation_step(batch, batch_idx, dataloader_idx)
        self.validated += 1
        if self.hook == "validation_step" and self.validated == 5:
            fail(self.kind)

    def on_before_zero_grad(self, optimizer: Any) -> None:
        if self.hook == "on_before_zero_grad" and self.count == 10:
            fail(self.kind)


class FailingData(Dataset[tuple[Tensor, ...]]):
    def __init__(self) -> None:
        self.samples, self.reads = dataset(), 0

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        self.reads += 1
        if self.reads == 33:
            fail("error")
        x, y = self.samples[index]
        return x, y


@pytest.fixture(autouse=True)
def _failure_is_on() -> Iterator[None]:
    interrupt = signal.getsignal(signal.SIGINT)
    FAILURE["is on"] = True
    yield
    signal.signal(signal.SIGINT, interrupt)  # Lightning ignores it from a first Ctrl-C on


WITH_WORKERS = lambda: loader(num_workers=2, persistent_workers=True)  # noqa: E731
FAILURES: dict[str, tuple[type[BaseException], Run]] = {
    "error in training_step": (ValueError, Run(lambda: Failing("error", "training_step"), val=val_loader)),
    "error in a hook": (MemoryError, Run(lambda: Failing("memory", "on_before_zero_grad"))),
    "error in validation_step": (
        ValueError,
        Run(lambda: Failing("error", "validation_step"), val=val_loader, rehearse={"monitor": "val_acc"}),
    ),
    "error in the data": (ValueError, Run(StatefulClassifier, train=lambda: DataLoader(FailingData(), 4))),
    "error with workers": (ValueError, Run(lambda: Failing("error", "training_step"), train=WITH_WORKERS)),
    "ctrl-c": (SystemExit, Run(lambda: Failing("ctrl-c", "training_step"), val=val_loader)),
    "sigterm": (SIGTERMException, Run(lambda: Failing("sigterm", "training_step"), val=val_loader)),
}


@pytest.mark.parametrize("name", FAILURES)
def test_after_a_failure_all_is_as_before_and_the_trainer_can_fit_again(name: str, tmp_path: Path) -> None:
    error, run = FAILURES[name]
    rehearse, recorder = Rehearse(**run.rehearse), TrainingRecorder()
    trainer, fit = run.build(tmp_path / "with", rehearse, recorder)
    with pytest.raises(error) as raised:  # `rehearse` compares the states before and after
        trainer.fit(**fit)
    assert raised.value.__class__ is error
    assert not isinstance(raised.value.__context__, AssertionError)
    assert not rehearse.values
    assert not any("train" in str(event) for event in recorder.events)
    assert not multiprocessing.active_children()
    assert len(trainer.callbacks) == 2  # type: ignore[attr-defined]

    FAILURE["is on"] = False
    recorder.events.clear()  # of the sanity check
    _, fit = run.build(tmp_path / "again")
    trainer.fit(**fit)
    assert len(rehearse.values) == 1
    fresh_recorder = TrainingRecorder()
    fresh, fit = run.build(tmp_path / "fresh", fresh_recorder)
    fresh.fit(**fit)
    assert_equal(recorder.seen(), fresh_recorder.seen())


def test_an_error_while_entering_leaves_the_trainer_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def isolate(self: Rehearsal) -> None:
        original(self)
        raise MemoryError

    original = Rehearsal._isolate
    monkeypatch.setattr(Rehearsal, "_isolate", isolate)
    trainer, fit = Run().build(tmp_path, Rehearse())
    with pytest.raises(MemoryError) as raised:
        trainer.fit(**fit)
    assert not isinstance(raised.value.__context__, AssertionError)


class Watched(Rehearse):
    """Counts the tensors that are alive, and keeps weak references to rehearsals and sweeps."""

    def __init__(self) -> None:
        super().__init__()
        self.tensors: list[int] = []
        self.alive: list[weakref.ref[Any]] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for _ in range(5):
            self.rehearse_once(trainer)
            assert all(reference() is None for reference in self.alive)
            gc.collect()  # Lightning's own metrics are in reference cycles
            self.tensors.append(sum(issubclass(type(obj), Tensor) for obj in gc.get_objects()))

    def rehearse_once(self, trainer: Trainer) -> None:
        sweep = Sweep(self.lrs, owner="Watched")
        with Rehearsal(trainer) as rehearsal:
            self.values.append(sweep.run(trainer, rehearsal).values)
        self.alive += [weakref.ref(sweep), weakref.ref(rehearsal), weakref.ref(rehearsal._snapshot)]


@pytest.mark.parametrize("workers", [0, 2])
def test_nothing_stays_in_memory_and_no_worker_runs_on(workers: int, tmp_path: Path) -> None:
    watched = Watched()
    options = {"num_workers": workers, "persistent_workers": workers > 0}
    trainer, fit = Run(train=lambda: loader(**options)).build(tmp_path, watched)
    gc.disable()  # memory must be freed without the garbage collector
    try:
        trainer.fit(**fit)
    finally:
        gc.enable()
    assert len(watched.values) == 5
    assert len(watched.alive) == 15
    assert len(set(watched.tensors)) == 1
    assert not multiprocessing.active_children()


def test_nothing_is_printed_or_written(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    seen = []
    for name, extra in (("without", []), ("with", [Rehearse()])):
        (tmp_path / name).mkdir()
        run = Run(val=val_loader, trainer=lambda: {"logger": False})
        trainer, fit = run.build(tmp_path / name, *extra)
        trainer.fit(**fit)
        seen.append((capfd.readouterr(), list((tmp_path / name).rglob("*"))))
    assert seen[0] == seen[1]
    assert seen[0][1] == []


class Hooked(StatefulClassifier):
    """Has step hooks of the user and of this package. Both note the learning rate."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, list[float]] = {"user": [], "ours": []}

    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()

        def users(optimizer: Any, args: Any, kwargs: Any) -> None:
            SEEN["user"].append(optimizer.param_groups[0]["lr"])

        def ours(optimizer: Any, args: Any, kwargs: Any) -> None:
            SEEN["ours"].append(optimizer.param_groups[0]["lr"])

        ours.__module__ = "lightning_lr.callbacks.some_callback"
        optimizer.register_step_pre_hook(ours)
        optimizer.register_step_post_hook(ours)
        optimizer.register_step_post_hook(users)
        return optimizer


SEEN: dict[str, list[float]] = {}


def test_step_hooks_of_the_user_act_and_ours_do_not(tmp_path: Path) -> None:
    SEEN.update(user=[], ours=[])
    trainer, fit = Run(Hooked).build(tmp_path, Rehearse(lrs=[0.5, 0.25, 0.125], times=2, rewinds=1))
    trainer.fit(**fit)
    swept = [0.5 / 0.1 * 0.1, 0.25, 0.125] * 4
    assert SEEN["user"] == pytest.approx([*swept, *[0.1] * 12])
    assert SEEN["ours"] == [0.1] * 24  # before and after each of 12 steps


class SeesRehearsal(Callback):
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.hooks: list[str] = []

    def on_train_batch_start(self, *args: Any) -> None:
        self.hooks.append("batch")

    def on_validation_start(self, *args: Any) -> None:
        self.hooks.append("validation")


def test_callbacks_of_the_user_do_not_see_it(tmp_path: Path) -> None:
    callback = SeesRehearsal()
    rehearse = Rehearse(lrs=WILD_LRS[:4], monitor="val_acc")
    trainer, fit = Run(val=val_loader, trainer=lambda: {"num_sanity_val_steps": 0}).build(tmp_path, rehearse, callback)
    trainer.fit(**fit)
    assert callback.hooks == [*["batch"] * 6, "validation"] * 2
