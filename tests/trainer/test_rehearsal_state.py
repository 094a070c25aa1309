"""A rehearsal that saves a training state and continues from it, on cached batches."""

from __future__ import annotations

import typing
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_lr.trainer.rehearsal import Rehearsal
from lightning_lr.trainer.snapshot import Snapshot
from lightning_lr.trainer.sweep import Sweep
from tests.helpers.lightning_classes import LightningModule, Trainer
from tests.helpers.reachable_state import assert_equal, contents, flatten, random_states
from tests.helpers.rehearsal_check import EXPECTED_WARNINGS, Rehearse, Run, assert_no_trace
from tests.helpers.stateful_model import StatefulClassifier, loader, val_loader

pytestmark = EXPECTED_WARNINGS


class Hooked(StatefulClassifier):
    """Notes the epoch, step and batch at each hook."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("adam", **kwargs)
        self.events: list[tuple[Any, ...]] = []

    def on_train_epoch_start(self) -> None:
        self.events.append(("epoch", self.current_epoch))

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        super().on_train_batch_end(outputs, batch, batch_idx)
        self.events.append((batch_idx, self.global_step, self.current_epoch))

    def on_train_epoch_end(self) -> None:
        self.events.append(("end", self.current_epoch))


class ContinueFromState(Rehearse):
    """Trains twice without a break, and twice in parts with another training between the parts."""

    def __init__(self, batches: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.batches = batches
        self.seen: list[dict[str, object]] = []
        self.losses: list[list[float]] = []

    def rehearse(self, trainer: Trainer) -> None:
        objects = whole_module(trainer)
        before, states = contents(objects), random_states()
        with Rehearsal(trainer, self.snapshot_device) as rehearsal:
            assert rehearsal.cache_batches(self.batches) == min(self.batches, trainer.num_training_batches)
            for cuts in ([7], [7], [4, 3], [1, 3, 3]):
                state, values = None, []
                for steps in cuts:
                    rehearsal.rewind(state)
                    values += self.run_steps(trainer, rehearsal, 0.01, steps)
                    state = rehearsal.save_state()
                    self.seen.append(contents(whole_module(trainer)) if sum(cuts) == len(values) * self.every else {})
                    self.seen[-1].update(random_states())
                    rehearsal.rewind()
                    self.run_steps(trainer, rehearsal, 0.5, 2)
                self.losses.append(values)
        self.values = self.losses
        assert_equal(contents(whole_module(trainer)), before)
        assert_equal(random_states(), states)

    every = 1

    def run_steps(self, trainer: Trainer, rehearsal: Rehearsal, lr: float, steps: int) -> list[float]:
        return Sweep([lr] * steps, owner="ContinueFromState", **self.sweep).run(trainer, rehearsal).values


def whole_module(trainer: Trainer) -> dict[str, object]:
    return flatten(module=trainer.lightning_module, optimizers=trainer.optimizers)


CASES: dict[str, tuple[int, Callable[[], dict[str, Any]], dict[str, Any]]] = {
    "many batches": (100, dict, {}),
    "few batches": (3, dict, {}),
    "ends at an epoch's end": (4, dict, {}),
    "accumulation": (5, lambda: {"accumulate_grad_batches": 2}, {}),
    "validation": (3, dict, {"monitor": "val_acc"}),
}


@pytest.mark.parametrize("case", CASES)
def test_training_in_parts_equals_training_without_a_break(case: str, tmp_path: Path) -> None:
    batches, trainer, sweep = CASES[case]
    run = Run(Hooked, val=val_loader, trainer=trainer, rehearse={"batches": batches, **sweep})
    rehearse = assert_no_trace(tmp_path, run, ContinueFromState)
    assert isinstance(rehearse, ContinueFromState)
    first, *others = rehearse.losses
    assert len(first) == 7
    for other in others:
        assert other == first
    ends = [rehearse.seen[i] for i in (0, 1, 3, 6)]
    for end in ends[1:]:
        assert_equal(end, ends[0])


class InPlace(LightningModule):
    """Its training step changes the batch in place."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        batch[0].mul_(0.5)
        return self.layer(batch[0]).sum() * 1e-6  # type: ignore[no-any-return]

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1)


def test_slots_are_restored_and_empty_ones_are_empty_again() -> None:
    class Slotted:
        __slots__ = ("empty", "filled")
        empty: int
        filled: int

    held = Slotted()
    held.filled = 1
    snapshot = Snapshot([held, typing.Literal])  # the second has an empty slot __doc__, and a class attribute like it
    held.empty, held.filled = 2, 2
    snapshot.restore()
    assert held.filled == 1
    assert not hasattr(held, "empty")


def test_large_buffers_of_data_are_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning_lr.trainer.snapshot._MAX_DATASET_STATE_BYTES", 16)
    buffers: list[Any] = [bytearray(16), array("d", [0.0] * 2), bytearray(17), array("d", [0.0] * 3)]
    snapshot = Snapshot([], data=[buffers])
    for buffer in buffers:
        buffer[0] = 1
    snapshot.restore()
    assert [buffer[0] for buffer in buffers] == [0, 0, 1, 1]


def test_a_training_step_may_change_its_batch(tmp_path: Path) -> None:
    rehearse = assert_no_trace(tmp_path, Run(InPlace, rehearse={"batches": 1}), ContinueFromState)
    assert isinstance(rehearse, ContinueFromState)
    assert max(rehearse.losses[0]) == pytest.approx(min(rehearse.losses[0]), rel=1e-3)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_of_workers(workers: int, tmp_path: Path) -> None:
    train = lambda: loader(num_workers=workers, persistent_workers=workers > 0)  # noqa: E731
    assert_no_trace(tmp_path, Run(Hooked, train=train, rehearse={"batches": 4}), ContinueFromState)


def test_a_stream(tmp_path: Path) -> None:
    run = Run(Hooked, train=lambda: iter(list(loader())), trainer=lambda: {"max_epochs": 1})
    run.rehearse = {"batches": 4, "is_stream": True}
    assert_no_trace(tmp_path, run, ContinueFromState)


class ReadsBatches(Rehearse):
    """Reads all the batches that are allowed."""

    def rehearse(self, trainer: Trainer) -> None:
        with Rehearsal(trainer, self.snapshot_device) as rehearsal:
            self.values = [[float(rehearsal.cache_batches(100))]]


@pytest.mark.parametrize(("free_batches", "read"), [(1, 1), (9, 2), (13, 3)])
def test_batches_take_a_quarter_of_the_free_memory(
    free_batches: int, read: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbytes = sum(tensor.nbytes for tensor in next(iter(loader())))
    monkeypatch.setattr("lightning_lr.trainer.rehearsal.free_bytes", lambda _: free_batches * nbytes)
    rehearse = assert_no_trace(tmp_path, Run(Hooked), ReadsBatches)
    assert rehearse.values == [[float(read)]]
