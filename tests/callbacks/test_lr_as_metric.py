"""The learning rate as a metric, for `EarlyStopping`, `ModelCheckpoint` and whatever reads ``callback_metrics``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_lr import CyclicalLR, LRRangeTest, LRTrace
from tests.helpers.lightning_classes import Callback, CSVLogger, EarlyStopping, LearningRateMonitor, ModelCheckpoint
from tests.helpers.recorded_steps import TwoOptimizers
from tests.helpers.tiny_models import Classifier, loader, quiet_trainer


class Decaying(Classifier):
    """The learning rate is divided by 10 after each epoch."""

    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.1)]


class NamedScheduler(Classifier):
    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.1)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "name": "decay"}}


class NamedGroup(Classifier):
    def configure_optimizers(self) -> Any:
        return torch.optim.SGD([{"params": list(self.parameters()), "name": "all"}], 0.1)


class TwoOptimizersOneScheduler(TwoOptimizers):
    """The second optimizer has the scheduler, so Lightning counts it first."""

    def configure_optimizers(self) -> Any:
        first, second = super().configure_optimizers()
        return [first, second], [torch.optim.lr_scheduler.ExponentialLR(second, 0.1)]


class LRsAtBatchEnd(Callback):
    """Keeps the metric after each batch."""

    def __init__(self, key: str = "lr-SGD") -> None:
        self.key = key
        self.seen: list[float | None] = []

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        value = trainer.callback_metrics.get(self.key)
        self.seen.append(None if value is None else float(value))


MODELS: list[Callable[[], Any]] = [
    Classifier,
    lambda: Classifier(backbone_ratio=0.1),
    TwoOptimizers,
    TwoOptimizersOneScheduler,
    NamedScheduler,
    NamedGroup,
]


@pytest.mark.parametrize("model", MODELS)
def test_names_are_those_of_lightnings_monitor(model: Callable[[], Any], tmp_path: Path) -> None:
    monitor = LearningRateMonitor("step")
    quiet_trainer(callbacks=[monitor], logger=CSVLogger(tmp_path), max_epochs=1, log_every_n_steps=1).fit(
        model(), loader(4)
    )
    trainer = quiet_trainer(callbacks=[LRTrace()], max_epochs=1, log_every_n_steps=1)
    trainer.fit(model(), loader(4))
    assert set(monitor.lrs) == {key for key in trainer.callback_metrics if key.startswith(("lr-", "decay"))}
    assert {key: lrs[-1] for key, lrs in monitor.lrs.items()} == pytest.approx(
        {key: float(trainer.callback_metrics[key]) for key in monitor.lrs}
    )


@pytest.mark.parametrize("key", ["lr-SGD", "lr/SGD"])
@pytest.mark.parametrize("log_every", [0, 1, 50])
def test_early_stopping_without_a_logger(key: str, log_every: int) -> None:
    """The value at the end of an epoch is that of its last step, which is not a step that is logged."""
    stopping = EarlyStopping(key, stopping_threshold=1e-4, patience=100, check_on_train_epoch_end=True)
    trainer = quiet_trainer(callbacks=[LRTrace(), stopping], max_epochs=20, log_every_n_steps=log_every)
    trainer.fit(Decaying(), loader(7))
    assert trainer.current_epoch == 4  # lr: 1e-2, 1e-3, 1e-4, 1e-5


def test_early_stopping_at_a_validation_before_the_first_logged_step() -> None:
    stopping = EarlyStopping("lr-SGD", patience=100)
    trainer = quiet_trainer(callbacks=[LRTrace(), stopping], max_epochs=1, val_check_interval=2)
    trainer.fit(Classifier(), loader(8), loader(2))
    assert float(trainer.callback_metrics["lr-SGD"]) == pytest.approx(0.01)


def test_name_of_a_checkpoint(tmp_path: Path) -> None:
    checkpoint = ModelCheckpoint(tmp_path, "{epoch}-{lr-SGD:.4f}", save_top_k=-1)
    quiet_trainer(callbacks=[LRTrace(), checkpoint], enable_checkpointing=True).fit(Decaying(), loader(7))
    assert {path.name for path in tmp_path.iterdir()} == {"epoch=0-lr-SGD=0.0100.ckpt", "epoch=1-lr-SGD=0.0010.ckpt"}


@pytest.mark.parametrize("is_first", [True, False])
def test_rate_is_that_of_the_step_before_other_callbacks_run(is_first: bool) -> None:
    used: list[float] = []

    class Noting(Classifier):
        def configure_optimizers(self) -> Any:
            optimizer = super().configure_optimizers()
            optimizer.register_step_pre_hook(lambda opt, *_: used.append(opt.param_groups[0]["lr"]))
            return optimizer

    keep = LRsAtBatchEnd()
    ours = CyclicalLR(0.01, 0.1, 5)
    callbacks: list[Callback] = [ours, keep] if is_first else [keep, ours]
    quiet_trainer(callbacks=callbacks, max_epochs=1, log_every_n_steps=1).fit(Noting(), loader(8))
    assert keep.seen == pytest.approx(used)


def test_the_metric_is_the_rate_of_each_step_whether_it_is_logged_or_not() -> None:
    keep = LRsAtBatchEnd()
    quiet_trainer(callbacks=[CyclicalLR(0.01, 0.1, 4), keep], max_epochs=1, log_every_n_steps=3).fit(
        Classifier(), loader(7)
    )
    assert keep.seen == pytest.approx([0.01, 0.0325, 0.055, 0.0775, 0.1, 0.0775, 0.055])


class MixedLRs(Classifier):
    """The first group has its learning rate in a tensor, which its scheduler fills in place. The others are numbers."""

    def configure_optimizers(self) -> Any:
        first, *others = self.parameters()
        groups: Any = [{"params": [first], "lr": torch.tensor(0.1)}, {"params": others, "lr": 1}]
        optimizer = torch.optim.SGD(groups, 0.1)
        return [optimizer], [{"scheduler": torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5), "interval": "step"}]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_metric_keeps_its_value_when_the_tensor_is_filled_again(dtype: torch.dtype) -> None:
    class Metrics(Callback):
        def __init__(self) -> None:
            self.seen: list[tuple[torch.Tensor, torch.Tensor]] = []

        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            metrics = trainer.callback_metrics
            self.seen.append((metrics["lr-SGD/pg1"], metrics["lr-SGD/pg2"]))

    before, metrics = torch.get_default_dtype(), Metrics()
    torch.set_default_dtype(dtype)
    try:
        quiet_trainer(callbacks=[LRTrace(), metrics], max_epochs=1).fit(MixedLRs(), loader(3))
    finally:
        torch.set_default_dtype(before)
    assert [float(first) for first, _ in metrics.seen] == pytest.approx([0.1, 0.05, 0.025])
    assert [float(second) for _, second in metrics.seen] == pytest.approx([1, 0.5, 0.25])
    assert {second.dtype for _, second in metrics.seen} == {dtype}


def test_a_trace_that_another_callback_holds_writes_the_metric() -> None:
    class Holder(Callback):
        def __init__(self) -> None:
            self.held = LRTrace()

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            self.held.on_train_start(trainer, pl_module)

        def on_train_end(self, trainer: Any, pl_module: Any) -> None:
            self.held.on_train_end(trainer, pl_module)

    keep = LRsAtBatchEnd()
    quiet_trainer(callbacks=[Holder(), keep], max_epochs=1).fit(Classifier(), loader(3))
    assert keep.seen == pytest.approx([0.01, 0.01, 0.01])


@pytest.mark.filterwarnings("ignore:LRRangeTest is not confident")
def test_rehearsal_leaves_nothing() -> None:
    class AfterTest(Callback):
        metrics: dict[str, Any] | None = None

        def on_train_start(self, trainer: Any, *_: Any) -> None:
            self.metrics = dict(trainer.callback_metrics)

    after, keep = AfterTest(), LRsAtBatchEnd()
    test = LRRangeTest(num_steps=60, verify=False)
    quiet_trainer(callbacks=[test, after, keep], log_every_n_steps=1).fit(Classifier(), loader())
    assert not {key for key in after.metrics or {} if key.startswith("lr")}
    assert test.result is not None
    assert keep.seen == pytest.approx([test.result.lr] * 40)
