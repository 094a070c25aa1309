"""`LRRangeTest` in a Trainer: the learning rate that it finds and sets, and the training that follows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lightning_lr import CyclicalLR, LRRangeTest
from tests.helpers.lightning_classes import Callback, CSVLogger, LearningRateMonitor, Trainer, seed_everything
from tests.helpers.lr_finder_runs import fit, lrs
from tests.helpers.tiny_models import Classifier

UNSURE = "ignore:LRRangeTest is not confident"
pytestmark = pytest.mark.filterwarnings(UNSURE)


class Interval(Classifier):
    """With a scheduler by name, stepped every optimizer step."""

    def __init__(self, scheduler: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scheduler = scheduler

    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        kinds: dict[str, Any] = {
            "StepLR": lambda: torch.optim.lr_scheduler.StepLR(optimizer, 7, 0.5),
            "LinearLR": lambda: torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, total_iters=10),
            "CosineAnnealingLR": lambda: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40),
        }
        return [optimizer], [{"scheduler": kinds[self.scheduler](), "interval": "step"}]


def test_repr_names_the_arguments() -> None:
    test = LRRangeTest(num_steps=30, at_epochs=(0, 2))
    assert repr(test).startswith("LRRangeTest(min_lr=1e-07, max_lr=10.0, num_steps=30, mode='exponential',")
    assert eval(repr(test), {"LRRangeTest": LRRangeTest}).state_dict() == test.state_dict()


def test_run_equals_one_started_with_the_learning_rate_found() -> None:
    seed_everything(0)
    tested = Classifier(lr=1e-3, backbone_ratio=0.1)
    test = LRRangeTest(num_steps=60, verify=False)
    fit(tested, test)
    assert test.result is not None
    assert tested.hparams["lr"] == test.result.lr

    seed_everything(0)
    plain = Classifier(lr=test.result.lr, backbone_ratio=0.1)
    fit(plain)
    assert tested.losses == plain.losses
    for ours, theirs in zip(tested.state_dict().values(), plain.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("scheduler", "found"), [("StepLR", "max_lr"), ("LinearLR", "lr"), ("CosineAnnealingLR", "max_lr")]
)
def test_schedulers_start_from_the_learning_rate_found(scheduler: str, found: str) -> None:
    """A schedule that decays to almost nothing within the run starts from ``max_lr``."""
    seed_everything(0)
    test = LRRangeTest(num_steps=40, verify=False)
    tested = Interval(scheduler, lr=1e-3)
    fit(tested, test)
    assert test.result is not None
    seed_everything(0)
    plain = Interval(scheduler, lr=getattr(test.result, found))
    fit(plain)
    assert tested.losses == pytest.approx(plain.losses, rel=1e-5)


def test_apply_false_changes_nothing() -> None:
    seed_everything(0)
    tested = Classifier(lr=1e-3)
    test = LRRangeTest(num_steps=30, apply=False, verify=False)
    fit(tested, test)
    seed_everything(0)
    plain = Classifier(lr=1e-3)
    fit(plain)
    assert test.result is not None
    assert tested.losses == plain.losses
    assert tested.hparams["lr"] == 1e-3


def test_at_epochs() -> None:
    test = LRRangeTest(num_steps=20, at_epochs=[1], verify=False)
    model = Classifier(lr=1e-3)
    seen: list[float] = []

    class Watch(Callback):
        def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
            seen.append(lrs(trainer)[0])

    fit(model, test, Watch())
    assert test.result is not None
    assert test.result.epoch == 1
    assert seen == [1e-3] * 20 + [test.result.lr] * 20


@pytest.mark.parametrize("monitor_first", [True, False])
@pytest.mark.parametrize("interval", ["step", "epoch"])
def test_learning_rate_monitor_logs_the_rate_found(interval: Any, monitor_first: bool, tmp_path: Path) -> None:
    test, monitor = LRRangeTest(num_steps=20, verify=False), LearningRateMonitor(interval)
    callbacks = [monitor, test] if monitor_first else [test, monitor]
    fit(Classifier(lr=1e-3), *callbacks, logger=CSVLogger(tmp_path), log_every_n_steps=1, max_epochs=1)
    assert test.result is not None
    (logged,) = {value for values in monitor.lrs.values() for value in values}
    assert logged == test.result.lr


@pytest.mark.parametrize("cycle_first", [True, False])
def test_open_cycle_takes_its_bounds(cycle_first: bool) -> None:
    test, cycle = LRRangeTest(num_steps=30, verify=False), CyclicalLR(step_size=5)
    seen: list[float] = []

    class Watch(Callback):
        def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
            seen.append(lrs(trainer)[0])

    fit(Classifier(lr=1e-3), *([cycle, test] if cycle_first else [test, cycle]), Watch(), max_epochs=1)
    assert test.result is not None
    assert seen[0] == pytest.approx(test.result.base_lr)
    assert seen[5] == pytest.approx(test.result.max_lr)
    assert seen[10] == pytest.approx(test.result.base_lr)


def test_every_sweep_sets_the_bounds_of_an_open_cycle() -> None:
    test, cycle = LRRangeTest(num_steps=30, at_epochs=[0, 1], verify=False), CyclicalLR(step_size=5)
    trainer = fit(Classifier(lr=1e-3), test, cycle)
    assert test.result is not None
    assert test.result.epoch == 1
    assert lrs(trainer)[0] == pytest.approx(test.result.base_lr)


def test_the_same_callback_tests_again_in_another_run() -> None:
    test = LRRangeTest(num_steps=20, verify=False)
    results = []
    for _ in range(2):
        fit(Classifier(lr=1e-3), test, max_epochs=1)
        results.append(test.result)
    assert results[0] is not results[1] is not None


def test_closed_cycle_keeps_its_bounds() -> None:
    test, cycle = LRRangeTest(num_steps=30, verify=False), CyclicalLR(base_lr=0.01, max_lr=0.02, step_size=5)
    trainer = fit(Classifier(lr=1e-3), test, cycle, max_epochs=1)
    assert lrs(trainer)[0] == pytest.approx(0.01)


class Manual(Classifier):
    """Two optimizers, the second stepped every other batch."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        first, second = self.optimizers()  # type: ignore[attr-defined]
        loss = super().training_step(batch, batch_idx)
        self.manual_backward(loss)
        first.step()
        first.zero_grad()
        if batch_idx % 2:
            second.step()
            second.zero_grad()
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.backbone.parameters(), 0.1), torch.optim.Adam(self.head.parameters(), 0.01)


def test_manual_optimization_with_two_optimizers() -> None:
    test = LRRangeTest(num_steps=30, verify=False)
    trainer = fit(Manual(), test)
    assert test.result is not None
    assert np.isfinite(test.result.curve.losses).sum() >= 10
    assert lrs(trainer) == pytest.approx([test.result.lr, 0.1 * test.result.lr])


class Prepared(Classifier):
    """A training step that rests on what the module's own start of training made."""

    def on_train_start(self) -> None:
        self.starts = getattr(self, "starts", 0) + 1
        self.scale = torch.ones(())

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return self.scale * super().training_step(batch, batch_idx)


def test_module_start_precedes_the_sweep_and_is_undone() -> None:
    model = Prepared()
    fit(model, LRRangeTest(num_steps=20, verify=False))
    assert model.starts == 1
