"""`lr_range_test` and `lr_search` as functions: what they find, and that nothing of them is left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lightning_lr import LRRangeTest, lr_range_test, lr_search
from tests.helpers.lightning_classes import Callback, LightningModule, TensorBoardLogger, Trainer, seed_everything
from tests.helpers.lr_finder_runs import SHORT_SEARCH
from tests.helpers.reachable_state import assert_equal, contents, flatten, random_states
from tests.helpers.tiny_models import Classifier, loader, quiet_trainer


class Counts(Callback):
    """How often training began."""

    def __init__(self) -> None:
        self.starts = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.starts += 1


def state(trainer: Trainer, model: LightningModule) -> dict[str, object]:
    """The module, the random states, and all of the Trainer with its loops and connectors."""
    parts = {name: value for name, value in vars(trainer).items() if name != "callbacks"}
    return {
        **contents(flatten(model=model, parts=parts)),
        **random_states(),
        "callbacks": list(vars(trainer)["callbacks"]),
        "strategy": repr({name: repr(value) for name, value in vars(trainer.strategy).items()}),
        "model.trainer": repr(model._trainer),
    }


def train(find: Any) -> dict[str, object]:
    """The state after a fit, before which ``find`` may be called. It must leave everything as it was."""
    seed_everything(3, verbose=False)
    model, data = Classifier(), loader(shuffle=True)
    trainer = quiet_trainer(callbacks=[counts := Counts()])
    if find is not None:
        before = state(trainer, model)
        find(trainer, model, data)
        assert_equal(state(trainer, model), before)
        assert counts.starts == 0
        assert trainer.optimizers == []
    trainer.fit(model, data, loader(4, seed=1))
    return {**contents(flatten(model=model, optimizers=trainer.optimizers)), **random_states()}


def test_a_range_test_leaves_no_trace() -> None:
    assert_equal(train(lambda *args: lr_range_test(*args, num_steps=50, verify=False)), train(None))


def test_a_search_leaves_no_trace() -> None:
    assert_equal(train(lambda *args: lr_search(*args, **SHORT_SEARCH)), train(None))


def test_finds_what_the_callback_finds() -> None:
    test = LRRangeTest(num_steps=50, verify=False)
    seed_everything(3, verbose=False)
    quiet_trainer(callbacks=[test]).fit(Classifier(), loader(shuffle=True))
    seed_everything(3, verbose=False)
    result = lr_range_test(quiet_trainer(), Classifier(), loader(shuffle=True), num_steps=50, verify=False)
    assert test.result is not None
    assert result.confident
    np.testing.assert_array_equal(result.curve.losses, test.result.curve.losses)
    assert result.lr == test.result.lr


def test_everything_is_restored_after_an_error() -> None:
    class Fails(Classifier):
        def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
            raise RuntimeError("the user's own error")

    model, trainer = Fails(), quiet_trainer(callbacks=[Counts()])
    before = state(trainer, model)
    with pytest.raises(RuntimeError, match="the user's own error"):
        lr_range_test(trainer, model, loader())
    assert_equal(state(trainer, model), before)


def test_writes_nothing_to_loggers(tmp_path: Path) -> None:
    class Logs(Classifier):
        def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
            self.logger.experiment.add_scalar("mine", 1.0)  # type: ignore[union-attr]
            return super().training_step(batch, batch_idx)

    trainer = quiet_trainer(logger=TensorBoardLogger(tmp_path), default_root_dir=tmp_path)
    lr_range_test(trainer, Logs(), loader(), num_steps=50, verify=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "arguments", "error", "message"),
    [
        ({}, {"num_steps": 3}, ValueError, "num_steps must give at least 10"),
        ({}, {"apply": True}, ValueError, "apply must be left out, got True"),
        ({}, {"at_epochs": (2,)}, ValueError, r"at_epochs must be left out, got \(2,\)"),
        ({"fast_dev_run": True}, {}, ValueError, r"Trainer\(fast_dev_run=...\) is set"),
        ({"max_epochs": 0}, {}, RuntimeError, "look at max_epochs, max_steps and limit_train_batches"),
        ({"strategy": "ddp_spawn", "devices": 2}, {}, ValueError, "trainer must train in this process"),
    ],
)
def test_refuses(options: dict[str, Any], arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    trainer = quiet_trainer(**{"accelerator": "cpu", **options})
    with pytest.raises(error, match=message):
        lr_range_test(trainer, Classifier(), loader(), **arguments)
    assert not torch.distributed.is_initialized()
