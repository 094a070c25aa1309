"""`LRRangeTest` in a Trainer: what it records, finds, sets and leaves."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import Callback, LearningRateMonitor
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from lightning_lr import CyclicalLR, LRRangeTest
from lightning_lr.range_test.curve import LRCurve
from lightning_lr.range_test.suggestion import suggest
from tests.helpers.tiny_models import Classifier, loader, quiet_trainer

UNSURE = "ignore:LRRangeTest is not confident"
pytestmark = pytest.mark.filterwarnings(UNSURE)


def _fit(model: LightningModule, *callbacks: Callback, shuffle: bool = True, **kwargs: Any) -> Trainer:
    trainer = quiet_trainer(callbacks=list(callbacks), **kwargs)
    seed_everything(3, verbose=False)
    trainer.fit(model, loader(shuffle=shuffle), loader(4, seed=1))
    return trainer


def _lrs(trainer: Trainer) -> list[float]:
    return [group["lr"] for optimizer in trainer.optimizers for group in optimizer.param_groups]


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


def test_run_equals_one_started_with_the_learning_rate_found() -> None:
    seed_everything(0)
    tested = Classifier(lr=1e-3, backbone_ratio=0.1)
    test = LRRangeTest(num_steps=60)
    _fit(tested, test)
    assert test.result is not None
    assert tested.hparams["lr"] == test.result.lr

    seed_everything(0)
    plain = Classifier(lr=test.result.lr, backbone_ratio=0.1)
    _fit(plain)
    assert tested.losses == plain.losses
    for ours, theirs in zip(tested.state_dict().values(), plain.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)


@pytest.mark.parametrize("scheduler", ["StepLR", "LinearLR", "CosineAnnealingLR"])
def test_schedulers_start_from_the_learning_rate_found(scheduler: str) -> None:
    seed_everything(0)
    test = LRRangeTest(num_steps=40)
    tested = Interval(scheduler, lr=1e-3)
    _fit(tested, test)
    assert test.result is not None
    seed_everything(0)
    plain = Interval(scheduler, lr=test.result.lr)
    _fit(plain)
    assert tested.losses == pytest.approx(plain.losses, rel=1e-5)


def test_apply_false_changes_nothing() -> None:
    seed_everything(0)
    tested = Classifier(lr=1e-3)
    test = LRRangeTest(num_steps=30, apply=False)
    _fit(tested, test)
    seed_everything(0)
    plain = Classifier(lr=1e-3)
    _fit(plain)
    assert test.result is not None
    assert tested.losses == plain.losses
    assert tested.hparams["lr"] == 1e-3


def test_records_the_loss_that_plain_training_with_these_rates_has() -> None:
    """A naive loop in torch alone gives the same curve."""
    seed_everything(0)
    model = Classifier(lr=0.5, backbone_ratio=0.1)
    reference = Classifier(lr=0.5, backbone_ratio=0.1)
    for each in (model, reference):
        each.backbone[3] = nn.Identity()  # no dropout: the two loops draw other random numbers
    reference.load_state_dict(model.state_dict())
    test = LRRangeTest(min_lr=1e-3, max_lr=1.0, num_steps=30)
    seed_everything(3)
    trainer = quiet_trainer(callbacks=[test], max_epochs=1)
    torch.manual_seed(5)
    trainer.fit(model, batches := loader(40))
    assert test.result is not None

    torch.manual_seed(5)
    optimizer = reference.configure_optimizers()
    reference.train()
    expected = []
    for lr, (x, y) in zip(np.geomspace(1e-3, 1.0, 30), batches, strict=False):
        optimizer.param_groups[0]["lr"], optimizer.param_groups[1]["lr"] = lr * 0.1, lr
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(reference.head(reference.backbone(x)), y)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        expected.append(loss.item())
    assert test.result.curve.lrs == pytest.approx(np.geomspace(1e-3, 1.0, 30))
    assert test.result.curve.losses == pytest.approx(expected, rel=1e-5)


class Counting(Classifier):
    """The loss is 100 and the number of the batch: what is recorded can be told by hand, and nothing is learned."""

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        zero = sum(parameter.sum() for parameter in self.parameters()) * 0.0
        return torch.tensor(100.0 + batch_idx) + zero


def test_a_point_is_an_optimizer_step_and_the_mean_of_its_micro_batches() -> None:
    test = LRRangeTest(num_steps=10, apply=False)
    _fit(Counting(), test, accumulate_grad_batches=3)
    assert test.result is not None
    # 20 batches an epoch: six windows of three, then one of two, then the next epoch
    above_100 = [1.0, 4.0, 7.0, 10.0, 13.0, 16.0, 18.5, 1.0, 4.0, 7.0]
    assert test.result.curve.losses - 100 == pytest.approx(above_100, abs=1e-4)


def test_staircase_and_own_list() -> None:
    stairs = LRRangeTest(min_lr=1e-3, max_lr=1.0, num_steps=30, steps_per_lr=3, apply=False)
    _fit(Classifier(), stairs)
    own = LRRangeTest(lrs=[0.01 * i for i in range(1, 13)], apply=False)
    _fit(Classifier(), own)
    assert stairs.result is not None
    assert own.result is not None
    assert stairs.result.curve.lrs == pytest.approx(np.repeat(np.geomspace(1e-3, 1.0, 10), 3))
    assert own.result.curve.lrs == pytest.approx([0.01 * i for i in range(1, 13)])


def test_accuracy_curve_over_several_epochs() -> None:
    """Smith's own test: the validation accuracy while the learning rate rises linearly."""
    test = LRRangeTest(1e-3, 0.5, 60, "linear", steps_per_lr=5, monitor="val_acc", monitor_mode="max", eval_batches=2)
    model = Classifier(lr=1e-3)
    _fit(model, test)
    assert test.result is not None
    curve = test.result.curve
    assert len(curve.lrs) == 12
    assert curve.monitor == "val_acc"
    assert curve.losses.min() >= 0
    assert curve.losses.max() > 0.8 > curve.losses[0]
    assert 1e-3 < test.result.lr < 0.5


def test_key_of_the_training_step() -> None:
    test = LRRangeTest(num_steps=20, monitor="train_loss", apply=False)
    plain = LRRangeTest(num_steps=20, apply=False)
    for each in (test, plain):
        seed_everything(0)
        _fit(Classifier(), each)
    assert test.result is not None
    assert plain.result is not None
    assert test.result.curve.losses == pytest.approx(plain.result.curve.losses)


class Exploding(Classifier):
    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        return loss * torch.nan if self.optimizers().param_groups[0]["lr"] > 1e-2 else loss  # type: ignore[union-attr]


def test_ends_at_the_first_nan() -> None:
    test = LRRangeTest(1e-5, 10.0, 61, apply=False)
    model = Exploding(lr=1e-3)
    _fit(model, test)
    assert test.result is not None
    finite = np.isfinite(test.result.curve.losses)
    assert finite[:30].all()
    assert not finite[31:].any()
    assert all(np.isfinite(value) for value in (test.result.lr, test.result.base_lr, test.result.max_lr))
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


def test_at_epochs() -> None:
    test = LRRangeTest(num_steps=20, at_epochs=[1])
    model = Classifier(lr=1e-3)
    seen: list[float] = []

    class Watch(Callback):
        def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
            seen.append(_lrs(trainer)[0])

    _fit(model, test, Watch())
    assert test.result is not None
    assert test.result.epoch == 1
    assert seen == [1e-3] * 20 + [test.result.lr] * 20


@pytest.mark.parametrize("monitor_first", [True, False])
@pytest.mark.parametrize("interval", ["step", "epoch"])
def test_learning_rate_monitor_logs_the_rate_found(interval: Any, monitor_first: bool, tmp_path: Path) -> None:
    test, monitor = LRRangeTest(num_steps=20), LearningRateMonitor(interval)
    callbacks = [monitor, test] if monitor_first else [test, monitor]
    _fit(Classifier(lr=1e-3), *callbacks, logger=CSVLogger(tmp_path), log_every_n_steps=1, max_epochs=1)
    assert test.result is not None
    (logged,) = {value for values in monitor.lrs.values() for value in values}
    assert logged == test.result.lr


@pytest.mark.parametrize("cycle_first", [True, False])
def test_open_cycle_takes_its_bounds(cycle_first: bool) -> None:
    test, cycle = LRRangeTest(num_steps=30), CyclicalLR(step_size=5)
    seen: list[float] = []

    class Watch(Callback):
        def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
            seen.append(_lrs(trainer)[0])

    _fit(Classifier(lr=1e-3), *([cycle, test] if cycle_first else [test, cycle]), Watch(), max_epochs=1)
    assert test.result is not None
    assert seen[0] == pytest.approx(test.result.base_lr)
    assert seen[5] == pytest.approx(test.result.max_lr)
    assert seen[10] == pytest.approx(test.result.base_lr)


def test_every_sweep_sets_the_bounds_of_an_open_cycle() -> None:
    test, cycle = LRRangeTest(num_steps=30, at_epochs=[0, 1]), CyclicalLR(step_size=5)
    trainer = _fit(Classifier(lr=1e-3), test, cycle)
    assert test.result is not None
    assert test.result.epoch == 1
    assert _lrs(trainer)[0] == pytest.approx(test.result.base_lr)


def test_the_same_callback_tests_again_in_another_run() -> None:
    test = LRRangeTest(num_steps=20)
    results = []
    for _ in range(2):
        _fit(Classifier(lr=1e-3), test, max_epochs=1)
        results.append(test.result)
    assert results[0] is not results[1] is not None


def test_closed_cycle_keeps_its_bounds() -> None:
    test, cycle = LRRangeTest(num_steps=30), CyclicalLR(base_lr=0.01, max_lr=0.02, step_size=5)
    trainer = _fit(Classifier(lr=1e-3), test, cycle, max_epochs=1)
    assert _lrs(trainer)[0] == pytest.approx(0.01)


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
    test = LRRangeTest(num_steps=30)
    trainer = _fit(Manual(), test)
    assert test.result is not None
    assert np.isfinite(test.result.curve.losses).sum() >= 10
    assert _lrs(trainer) == pytest.approx([test.result.lr, 0.1 * test.result.lr])


class Prepared(Classifier):
    """A training step that rests on what the module's own start of training made."""

    def on_train_start(self) -> None:
        self.starts = getattr(self, "starts", 0) + 1
        self.scale = torch.ones(())

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return self.scale * super().training_step(batch, batch_idx)


def test_module_start_precedes_the_sweep_and_is_undone() -> None:
    model = Prepared()
    _fit(model, LRRangeTest(num_steps=20))
    assert model.starts == 1


def test_resume_does_not_test_again(tmp_path: Path) -> None:
    first = LRRangeTest(num_steps=20)
    trainer = _fit(Classifier(lr=1e-3), first, max_epochs=1)
    trainer.save_checkpoint(tmp_path / "run.ckpt")

    second = LRRangeTest(num_steps=20)
    model = Classifier(lr=1e-3)
    resumed = quiet_trainer(callbacks=[second], max_epochs=2)
    resumed.fit(model, loader(), ckpt_path=tmp_path / "run.ckpt")
    assert first.result is not None
    assert second.result is not None
    assert len(model.losses) == 20
    assert second.result.lr == first.result.lr
    assert second.result.reasons == first.result.reasons
    np.testing.assert_array_equal(second.result.curve.losses, first.result.curve.losses)
    assert _lrs(resumed) == [first.result.lr]


def test_changed_arguments_are_named_on_resume(tmp_path: Path) -> None:
    trainer = _fit(Classifier(), LRRangeTest(num_steps=20), max_epochs=1)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    with pytest.warns(UserWarning, match="LRRangeTest is resumed with changed arguments.*num_steps: 20 -> 30"):
        quiet_trainer(callbacks=[LRRangeTest(num_steps=30)]).fit(
            Classifier(), loader(), ckpt_path=tmp_path / "run.ckpt"
        )


def test_a_test_added_after_its_epoch_says_so(tmp_path: Path) -> None:
    trainer = _fit(Classifier(), max_epochs=1)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    with pytest.warns(UserWarning, match=r"at_epochs=\[0\] lies before epoch 1"):
        quiet_trainer(callbacks=[LRRangeTest(num_steps=20)]).fit(
            Classifier(), loader(), ckpt_path=tmp_path / "run.ckpt"
        )


def test_loggers_get_curve_and_result(tmp_path: Path) -> None:
    test = LRRangeTest(num_steps=30)
    board, csv = TensorBoardLogger(tmp_path, "board"), CSVLogger(tmp_path, "csv")
    _fit(Classifier(), test, logger=[board, csv], log_every_n_steps=5, max_epochs=1)
    assert test.result is not None
    curve = test.result.curve
    finite = np.isfinite(curve.losses)

    events = EventAccumulator(board.log_dir).Reload()
    lrs, losses = ([event.value for event in events.Scalars(f"lr_range_test/{key}")] for key in ("lr", "loss"))
    assert lrs == pytest.approx(curve.lrs[finite], rel=1e-6)
    assert losses == pytest.approx(curve.losses[finite], rel=1e-6)
    assert [e.value for e in events.Scalars("lr_range_test/loss_smoothed")] == pytest.approx(
        curve.smoothed()[finite], rel=1e-6
    )
    steps = [event.step for event in events.Scalars("lr_range_test/loss_vs_log10_lr_x1000")]
    assert steps == [round(1000 * np.log10(lr)) for lr in curve.lrs[finite]]
    assert [e.value for e in events.Scalars("lr_range_test/suggested_lr")] == [pytest.approx(test.result.lr)]
    assert events.Tags()["images"] == ["lr_range_test/curve"]
    assert [e.value for e in events.Scalars("lr/SGD")] == pytest.approx([test.result.lr] * 4)

    header = (Path(csv.log_dir) / "metrics.csv").read_text().splitlines()[0]
    assert {"lr_range_test/lr", "lr_range_test/loss", "lr_range_test/suggested_lr"} <= set(header.split(","))


def test_output_dir(tmp_path: Path) -> None:
    test = LRRangeTest(num_steps=20, output_dir=tmp_path / "curves", if_unsure="warn")
    _fit(Classifier(), test)
    assert test.result is not None
    files = {path.name for path in (tmp_path / "curves").iterdir()}
    assert files == {"lr_range_test.csv", "lr_range_test.json", "lr_range_test.png"}
    curve = LRCurve.from_csv(tmp_path / "curves" / "lr_range_test.csv")
    assert suggest(curve, momentum=True).lr == pytest.approx(test.result.lr)
    assert json.loads((tmp_path / "curves" / "lr_range_test.json").read_text())["lr"] == test.result.lr


def test_nothing_is_written_unless_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _fit(Classifier(), LRRangeTest(num_steps=20), default_root_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("default:LRRangeTest is not confident")
def test_reasons_are_told_when_unsure() -> None:
    with pytest.warns(UserWarning, match="not confident"):
        _fit(Counting(), LRRangeTest(num_steps=20))


BAD_ARGUMENTS: dict[str, tuple[dict[str, Any], str]] = {
    "words for steps": ({"num_steps": "many"}, "num_steps must be a number, got 'many'"),
    "words for a rate": ({"min_lr": "tiny"}, "min_lr must be a number, got 'tiny'"),
    "min_lr of 0": ({"min_lr": 0.0}, "min_lr"),
    "min_lr above max_lr": ({"min_lr": 1.0, "max_lr": 0.1}, "min_lr"),
    "too few steps": ({"num_steps": 9}, "num_steps"),
    "too few stairs": ({"num_steps": 30, "steps_per_lr": 4}, "num_steps"),
    "mode": ({"mode": "zigzag"}, "mode"),
    "rule": ({"rule": "magic"}, "rule"),
    "monitor_mode": ({"monitor_mode": "up"}, "monitor_mode"),
    "if_unsure": ({"if_unsure": "shrug"}, "if_unsure"),
    "snapshot": ({"snapshot": "disk"}, "snapshot"),
    "eval_batches": ({"eval_batches": 0}, "eval_batches"),
    "steps_per_lr": ({"steps_per_lr": 0}, "steps_per_lr"),
    "at_epochs": ({"at_epochs": [-1]}, "at_epochs"),
    "no epoch": ({"at_epochs": []}, "at_epochs"),
    "a file": ({"output_dir": __file__}, "output_dir"),
    "falling list": ({"lrs": [1.0 / i for i in range(1, 20)]}, "lrs"),
    "short list": ({"lrs": [0.1, 0.2]}, "lrs"),
}


@pytest.mark.parametrize("case", BAD_ARGUMENTS)
def test_bad_arguments_are_refused_by_name_and_value(case: str) -> None:
    arguments, name = BAD_ARGUMENTS[case]
    with pytest.raises(ValueError, match=name) as error:
        LRRangeTest(**arguments)
    assert "\n" not in str(error.value)


class Detached(Classifier):
    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return super().training_step(batch, batch_idx).detach()


class WithoutOptimizer(Classifier):
    def configure_optimizers(self) -> Any:
        return None


def _stream(batches: int) -> Iterator[Any]:
    yield from list(loader(batches))


@pytest.mark.filterwarnings("ignore:`LightningModule.configure_optimizers` returned `None`")
@pytest.mark.parametrize(
    ("model", "data", "arguments", "message"),
    [
        (Detached(), loader(), {}, "no gradient"),
        (WithoutOptimizer(), loader(), {}, "return an optimizer with lr > 0"),
        (Classifier(), _stream(15), {}, "needs 20 optimizer steps, but the training data ended after 14"),
        (Classifier(), loader(), {"monitor": "nope"}, "there is no validation data"),
    ],
    ids=["loss without gradient", "no optimizer", "short stream", "no validation data"],
)
def test_bad_models_and_data_get_one_sentence(model: Any, data: Any, arguments: dict[str, Any], message: str) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trainer = quiet_trainer(callbacks=[LRRangeTest(num_steps=20, **arguments)])
    with pytest.raises((MisconfigurationException, ValueError), match=message) as error:
        trainer.fit(model, data)
    assert "\n" not in str(error.value)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_unknown_key_lists_the_keys_that_are_logged() -> None:
    with pytest.raises(MisconfigurationException, match=r"does not log this key\. It logs: train_loss, val_acc"):
        _fit(Classifier(), LRRangeTest(num_steps=20, monitor="nope"))


def test_no_train_loader_is_lightnings_own_error() -> None:
    with pytest.raises(MisconfigurationException, match="train_dataloader"):
        quiet_trainer(callbacks=[LRRangeTest()]).fit(Classifier())


def test_fast_dev_run_is_skipped_with_one_warning() -> None:
    test = LRRangeTest()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _fit(Classifier(), test, fast_dev_run=True)
    assert test.result is None
    assert [str(w.message) for w in caught if "LRRangeTest" in str(w.message)] == [
        "LRRangeTest is skipped: Trainer(fast_dev_run=...) is set."
    ]


def test_same_trainer_can_fit_again_after_an_error() -> None:
    model, test = Classifier(lr=1e-3), LRRangeTest(num_steps=30)

    class Fails(Classifier):
        def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
            if len(self.losses) == 12:
                raise RuntimeError("the user's own")
            return super().training_step(batch, batch_idx)

    trainer = quiet_trainer(callbacks=[test])
    with pytest.raises(RuntimeError, match="the user's own"):
        trainer.fit(Fails(), loader())
    trainer.fit(model, loader(), loader(4, seed=1))
    assert test.result is not None
    assert len(model.losses) == 40
