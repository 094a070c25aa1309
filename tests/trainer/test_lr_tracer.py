"""The trace that `LRTrace` writes, read back from event and CSV files."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from lightning_lr import CyclicalLR, HypergradientLR, LRTrace
from lightning_lr.trainer.loggers import log_vs_lr
from tests.helpers.lightning_classes import Callback, CSVLogger, LearningRateMonitor, TensorBoardLogger, Trainer
from tests.helpers.tiny_models import Classifier, loader, quiet_trainer


class Scheduled(Classifier):
    """A scheduler that steps after every optimizer step. Notes the learning rate that each step used."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.used: list[list[float]] = []

    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        optimizer.register_step_pre_hook(lambda opt, *_: self.used.append([group["lr"] for group in opt.param_groups]))
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]


def _scalars(board: TensorBoardLogger, tag: str) -> dict[int, float]:
    events = EventAccumulator(board.log_dir, size_guidance={"scalars": 0}).Reload()
    return {event.step: event.value for event in events.Scalars(tag)}


def _tags(board: TensorBoardLogger) -> set[str]:
    return set(EventAccumulator(board.log_dir).Reload().Tags()["scalars"])


@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("monitor_first", [True, False])
def test_rate_used_and_loss_at_one_step(every: int, monitor_first: bool, tmp_path: Path) -> None:
    model, board = Scheduled(), TensorBoardLogger(tmp_path)
    callbacks: list[Callback] = [LearningRateMonitor("step"), LRTrace()]
    quiet_trainer(callbacks=callbacks if monitor_first else callbacks[::-1], logger=board, log_every_n_steps=every).fit(
        model, loader()
    )
    steps = range(every - 1, 40, every)
    assert _scalars(board, "lr/SGD") == pytest.approx({step: model.used[step][0] for step in steps}, rel=1e-6)
    assert _scalars(board, "lr/loss") == pytest.approx({step: model.losses[step] for step in steps}, rel=1e-5)
    assert _scalars(board, "lr-SGD") == pytest.approx(_scalars(board, "lr/SGD"))


def test_points_are_written_while_the_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that logs nothing itself leaves Lightning no reason to do so. Some file systems keep back the rest."""
    monkeypatch.setattr("lightning_lr.trainer.lr_tracer._MAX_DELAY", 0.0)
    flushed: list[int] = []

    class Silent(Classifier):
        def log(self, *args: Any, **kwargs: Any) -> None:
            pass

    board = TensorBoardLogger(tmp_path)
    trainer = quiet_trainer(callbacks=[LRTrace()], logger=board, log_every_n_steps=1, max_epochs=1)
    monkeypatch.setattr(board.experiment, "flush", lambda: flushed.append(trainer.global_step))
    trainer.fit(Silent(), loader())
    assert set(range(2, 20)) <= set(flushed)


def test_groups_by_position_and_by_name(tmp_path: Path) -> None:
    class Named(Classifier):
        def configure_optimizers(self) -> Any:
            optimizer = super().configure_optimizers()
            optimizer.param_groups[1]["name"] = "head"
            return optimizer

    board = TensorBoardLogger(tmp_path)
    quiet_trainer(callbacks=[LRTrace()], logger=board, log_every_n_steps=5).fit(Named(backbone_ratio=0.1), loader())
    assert {tag for tag in _tags(board) if tag.startswith("lr/")} == {"lr/SGD/pg1", "lr/SGD/head", "lr/loss"}


class SharedNames(Classifier):
    """Groups that share a name, also with what a number or a position would give."""

    def configure_optimizers(self) -> Any:
        names = [{"name": "norm"}, {"name": "norm"}, {"name": "norm-1"}, {"name": "pg5"}, {}, {}]
        groups = zip(self.parameters(), names, strict=True)
        return torch.optim.SGD(
            [{"params": [parameter], "lr": 0.01 * i, **name} for i, (parameter, name) in enumerate(groups, start=1)]
        )


def test_groups_of_one_name_are_numbered(tmp_path: Path) -> None:
    lrs = {"norm": 0.01, "norm-1": 0.02, "norm-1-1": 0.03, "pg5": 0.04, "pg5-1": 0.05, "pg6": 0.06}
    board = TensorBoardLogger(tmp_path)
    trainer = quiet_trainer(callbacks=[LRTrace()], logger=board, log_every_n_steps=5)
    trainer.fit(SharedNames(), loader())
    for group, lr in lrs.items():
        assert _scalars(board, f"lr/SGD/{group}")[4] == pytest.approx(lr)
        assert trainer.callback_metrics[f"lr-SGD/{group}"] == pytest.approx(lr)
    board = TensorBoardLogger(tmp_path)
    quiet_trainer(callbacks=[HypergradientLR(per_group=True)], logger=board, log_every_n_steps=5).fit(
        SharedNames(), loader()
    )
    assert {f"hypergradient/log10_scale/SGD/{group}" for group in lrs} <= _tags(board)


def test_a_bound_by_name_is_for_all_groups_of_the_name() -> None:
    bounds = {"norm": 0.1, "norm-1": 0.2, "pg5": 0.3, "pg6": 0.4}
    trainer = quiet_trainer(callbacks=[CyclicalLR(bounds, bounds, step_size=5)])
    trainer.fit(SharedNames(), loader())
    assert [group["lr"] for group in trainer.optimizers[0].param_groups] == [0.1, 0.1, 0.2, 0.3, 0.3, 0.4]


def test_accumulation_gives_one_point_an_optimizer_step(tmp_path: Path) -> None:
    """The loss is the mean over the micro-batches of a window. The last window of an epoch is shorter."""
    model, logger = Classifier(), CSVLogger(tmp_path)
    trainer = quiet_trainer(
        callbacks=[LRTrace()], logger=logger, log_every_n_steps=1, accumulate_grad_batches=3, max_epochs=1
    )
    trainer.fit(model, loader())
    with (Path(logger.log_dir) / "metrics.csv").open() as file:
        points = {int(row["step"]): float(row["lr/loss"]) for row in csv.DictReader(file) if row["lr/loss"]}
    windows = [model.losses[i : i + 3] for i in range(0, 20, 3)]
    assert points == pytest.approx({step: np.mean(window) for step, window in enumerate(windows)}, rel=1e-5)


class Adversarial(Classifier):
    """Two optimizers in manual optimization. The training step may return anything."""

    returns: Any = None

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        self.manual_backward(loss)
        for optimizer in self.optimizers():  # type: ignore[union-attr]
            optimizer.step()
            optimizer.zero_grad()
        return self.returns

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.backbone.parameters(), 0.1), torch.optim.SGD(self.head.parameters(), 0.05)


@pytest.mark.parametrize("returns", [None, {"other": 1}, {"loss": torch.tensor(3.0)}])
def test_manual_optimization(returns: Any, tmp_path: Path) -> None:
    model, board = Adversarial(), TensorBoardLogger(tmp_path)
    model.returns = returns
    quiet_trainer(callbacks=[LRTrace()], logger=board, log_every_n_steps=5).fit(model, loader())
    assert set(_scalars(board, "lr/SGD").values()) == {float(np.float32(0.1))}
    assert set(_scalars(board, "lr/SGD-1").values()) == {float(np.float32(0.05))}
    assert ("lr/loss" in _tags(board)) == (returns is not None and "loss" in returns)


class Gaps(Classifier):
    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        return [None, loss, loss * torch.nan][batch_idx % 3]


@pytest.mark.filterwarnings("ignore:`training_step` returned `None`")
def test_no_loss_is_logged_where_there_is_none(tmp_path: Path) -> None:
    board = TensorBoardLogger(tmp_path)
    quiet_trainer(callbacks=[LRTrace()], logger=board, log_every_n_steps=1, max_epochs=1).fit(Gaps(), loader(3))
    assert list(_scalars(board, "lr/loss")) == [1]
    assert list(_scalars(board, "lr/SGD")) == [0, 1, 2]


def test_only_the_first_of_our_callbacks_traces(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path)
    calls: list[int] = []
    original = logger.log_metrics

    def count(metrics: Any, step: int | None = None) -> None:
        if "lr/loss" in metrics:
            calls.append(step or 0)
        original(metrics, step)

    logger.log_metrics = count  # type: ignore[method-assign]
    callbacks = [LRTrace(), CyclicalLR(0.01, 0.1, 5), LRTrace()]
    trainer = quiet_trainer(callbacks=callbacks[:2], logger=logger, log_every_n_steps=1, max_epochs=1)
    trainer.fit(Classifier(), loader())
    assert calls == list(range(20))


def test_no_hook_is_left_behind() -> None:
    class Keep(Classifier):
        def configure_optimizers(self) -> Any:
            self.optimizer = super().configure_optimizers()
            return self.optimizer

    class Fails(Callback):
        def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
            raise RuntimeError

    for model, more in ((Keep(), []), (Keep(), [Fails()])):
        trainer = quiet_trainer(callbacks=[LRTrace(), CyclicalLR(0.01, 0.1, 5), *more], max_epochs=1)
        try:
            trainer.fit(model, loader())
        except RuntimeError:
            assert more
        assert not model.optimizer._optimizer_step_post_hooks


def test_chart_of_loss_against_lr_in_stock_tensorboard(tmp_path: Path) -> None:
    board = TensorBoardLogger(tmp_path)
    trainer = quiet_trainer(logger=board)
    log_vs_lr(trainer, "curve", [1e-3, 1.0005e-3, 1e-2, 1.0, 10.0], [2.0, 9.0, 1.0, np.nan, 3.0])
    board.finalize("success")
    assert _scalars(board, "curve") == {-3000: 2.0, -2000: 1.0, 1000: 3.0}


class FullDisk(CSVLogger):
    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        if "lr/loss" in metrics:
            raise RuntimeError("no space left")


class Fails(Callback):
    def on_train_batch_end(self, *_: Any) -> None:
        raise ValueError("the user's own error")


def test_an_error_of_a_logger_is_silent_only_behind_another(tmp_path: Path) -> None:
    """A run of less than a second, whose points are logged when it ends."""
    options = {"logger": FullDisk(tmp_path), "log_every_n_steps": 1, "max_epochs": 1}
    with pytest.raises(RuntimeError, match="no space left"):
        quiet_trainer(callbacks=[LRTrace()], **options).fit(Classifier(), loader(5))
    with pytest.raises(ValueError, match="the user's own error"):
        quiet_trainer(callbacks=[LRTrace(), Fails()], **options).fit(Classifier(), loader(5))
