"""Hooks that do nothing are left out while training. Own ones are not, and after training all are there again."""

from __future__ import annotations

from typing import Any

import pytest

from lightning_lr import CyclicalLR, HypergradientLR, LRTrace
from lightning_lr.callbacks._skipped_hooks import SkippedHooks
from lightning_lr.trainer.lightning_packages import Callback
from tests.helpers.lightning_classes import LightningModule, Trainer
from tests.helpers.recorded_steps import RecordingClassifier, fit

CALLBACKS = [(CyclicalLR, (0.01, 0.1, 5)), (LRTrace, ()), (HypergradientLR, ())]


def _own(cls: type[Callback]) -> type[Any]:
    """A subclass with a hook of its own."""

    class Counting(cls):  # type: ignore[misc, valid-type]
        calls = 0

        def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
            super().on_after_backward(trainer, pl_module)
            self.calls += 1
            assert self.on_before_backward is None

    return Counting


@pytest.mark.parametrize(("cls", "arguments"), CALLBACKS)
def test_a_hook_of_a_subclass_is_called(cls: type[Callback], arguments: tuple[float, ...]) -> None:
    callback = _own(cls)(*arguments)
    own: list[int] = []
    callback.on_before_zero_grad = lambda *_: own.append(1)
    fit(RecordingClassifier(), callback)
    assert callback.calls == len(own) == 40
    assert callable(callback.on_before_backward)


def test_a_hook_that_is_set_while_training_stays() -> None:
    class Setting(CyclicalLR):
        def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            super().on_train_epoch_start(trainer, pl_module)
            self.on_before_backward = lambda *_: own.append(1)  # type: ignore[method-assign]

    own: list[int] = []
    cycle = Setting(0.01, 0.1, 5)
    fit(RecordingClassifier(), cycle)
    assert len(own) == 40
    assert "on_before_backward" in vars(cycle)


@pytest.mark.parametrize(("cls", "arguments"), CALLBACKS)
def test_all_hooks_are_there_again_after_an_error(cls: type[Callback], arguments: tuple[float, ...]) -> None:
    class Fails(Callback):
        def on_before_backward(self, *_: Any) -> None:
            raise RuntimeError("an error of another callback")

    callback = cls(*arguments)
    with pytest.raises(RuntimeError, match="an error of another callback"):
        fit(RecordingClassifier(), callback, Fails())
    assert not [name for name, value in vars(callback).items() if name.startswith("on_") and value is None]


@pytest.mark.parametrize(("cls", "arguments"), CALLBACKS)
def test_a_callback_that_another_one_holds_has_all_hooks(cls: type[Callback], arguments: tuple[float, ...]) -> None:
    """The other one may call each of them."""
    held, holder, called = cls(*arguments), Callback(), set()

    def forward(name: str) -> Any:
        def call(*args: Any) -> Any:
            called.add(name)
            return getattr(held, name)(*args)

        return call

    for name in (name for name in dir(Callback) if name.startswith(("on_fit", "on_train", "on_before", "on_after"))):
        setattr(holder, name, forward(name))
    fit(RecordingClassifier(), holder)
    assert called >= {"on_before_backward", "on_after_backward", "on_before_zero_grad", "on_train_batch_start"}


def test_an_optimizer_alone_needs_no_count_of_backward_passes() -> None:
    class Looks(Callback):
        def on_train_epoch_start(self, *_: Any) -> None:
            seen.append(adapts.on_after_backward)

    adapts, seen = HypergradientLR(), list[Any]()
    fit(RecordingClassifier(), adapts, Looks())
    assert seen == [None, None]


def test_a_run_that_did_not_say_how_it_ended_leaves_no_hook_out_of_the_next_one() -> None:
    """In the next one another callback holds it."""
    trace = LRTrace()
    skipped = SkippedHooks(trace)
    skipped.skip([trace])
    assert trace.on_before_backward is None
    skipped.skip([])
    assert callable(trace.on_before_backward)
