"""Hooks that do nothing are left out while training. Own ones are not, and after training all are there again."""

from __future__ import annotations

from typing import Any

import pytest

from lightning_lr import CyclicalLR, LRTrace
from lightning_lr.trainer.lightning_packages import Callback
from tests.helpers.lightning_classes import LightningModule, Trainer
from tests.helpers.recorded_steps import RecordingClassifier, fit


def _own(cls: type[Callback]) -> type[Any]:
    """A subclass with a hook of its own."""

    class Counting(cls):  # type: ignore[misc, valid-type]
        calls = 0

        def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
            super().on_after_backward(trainer, pl_module)
            self.calls += 1
            assert self.on_before_backward is None

    return Counting


@pytest.mark.parametrize(("cls", "arguments"), [(CyclicalLR, (0.01, 0.1, 5)), (LRTrace, ())])
def test_a_hook_of_a_subclass_is_called(cls: type[Callback], arguments: tuple[float, ...]) -> None:
    callback = _own(cls)(*arguments)
    own: list[int] = []
    callback.on_before_zero_grad = lambda *_: own.append(1)
    fit(RecordingClassifier(), callback)
    assert callback.calls == len(own) == 40
    assert callable(callback.on_before_backward)


def test_all_hooks_are_there_again_after_an_error() -> None:
    class Fails(Callback):
        def on_before_backward(self, *_: Any) -> None:
            raise RuntimeError("an error of another callback")

    trace = LRTrace()
    with pytest.raises(RuntimeError, match="an error of another callback"):
        fit(RecordingClassifier(), trace, Fails())
    assert callable(trace.on_before_backward)


def test_a_callback_that_another_one_holds_has_all_hooks() -> None:
    class Holder(Callback):
        def __init__(self) -> None:
            self.held = LRTrace()

        def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            self.held.on_train_start(trainer, pl_module)

        def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Any) -> None:
            self.held.on_before_backward(trainer, pl_module, loss)

        def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            self.held.on_train_end(trainer, pl_module)

    fit(RecordingClassifier(), Holder(), LRTrace())
