"""Lengths in epochs and in shares of the run: what a schedule takes them for, and where they cannot be known."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_lr import CyclicalLR, HypergradientLR, LRRangeTest, OneCycleLR
from lightning_lr.callbacks._scheduled_lr import ScheduledLR
from lightning_lr.schedules.base import lr_at
from lightning_lr.schedules.cyclical import Cyclical
from tests.helpers.lightning_classes import Callback, GradientAccumulationScheduler, MisconfigurationException, Trainer
from tests.helpers.recorded_steps import RecordingClassifier, TwoOptimizers, first_group_lrs, fit
from tests.helpers.schedule_cases import SaveAt
from tests.helpers.tiny_models import loader, quiet_trainer

pytestmark = pytest.mark.filterwarnings("ignore:.*lr_scheduler.step.*")


def test_fitted_cycles_end_with_the_run() -> None:
    """Cycles of 12 steps in a run of 40: three, of 13 or 14 steps."""
    model = RecordingClassifier()
    fit(model, CyclicalLR(0.0, 0.1, 6, fit_cycles=True))
    zeros = [step for step, lr in enumerate(first_group_lrs(model)) if lr == 0]
    assert zeros == [0, 13, 27]


class Endless(torch.utils.data.IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(loader().dataset)


@pytest.mark.filterwarnings("ignore:Your `IterableDataset`")
@pytest.mark.parametrize(
    ("schedule", "length"),
    [
        (CyclicalLR(0.01, 0.1, "2ep"), "step_size=2ep needs the length of an epoch"),
        (CyclicalLR(0.01, 0.1, "0.2run"), "step_size=0.2run needs the length of the run"),
        (CyclicalLR(0.01, 0.1, 5, fit_cycles=True), "fit_cycles=True needs the length of the run"),
        (OneCycleLR(0.1), "total_steps=1run needs the length of the run"),
    ],
)
def test_lengths_that_cannot_be_known(schedule: ScheduledLR, length: str) -> None:
    data = torch.utils.data.DataLoader(Endless(), 8)
    with pytest.raises((MisconfigurationException, ValueError), match=length):
        fit(RecordingClassifier(), schedule, data=data, max_epochs=1)


@pytest.mark.parametrize(
    ("argument", "length", "advice"),
    [("horizon", "0.2run", "give it in steps"), ("freeze_after", "0.2run", "give it in steps")]
    + [("decay", length, "give max_steps") for length in (100, "2ep", "0.2run")],
)
@pytest.mark.parametrize("more", [{"max_time": "00:00:01:00"}, {}])
def test_an_adaptation_without_an_end_is_refused_before_a_range_test(
    argument: str, length: int | str, advice: str, more: dict[str, Any]
) -> None:
    test, adapts = LRRangeTest(), HypergradientLR(**{argument: length})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=rf"{argument}='?{length}'? needs the length of the run.*{advice}"):
        fit(RecordingClassifier(), test, adapts, max_epochs=-1, **more)
    assert test.result is None


@pytest.mark.parametrize("more", [{"max_time": "00:00:01:00"}, {"max_epochs": -1, "limit_train_batches": 20}])
def test_without_an_end_only_shares_of_the_run_are_unknown(more: dict[str, Any]) -> None:
    class Stop(Callback):
        def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
            trainer.should_stop = trainer.global_step >= 30

    model = RecordingClassifier()
    more = {"max_epochs": None, **more}
    fit(model, CyclicalLR(0.01, 0.1, "0.5ep"), Stop(), **more)
    assert first_group_lrs(model) == CyclicalLR(0.01, 0.1, 10).preview(len(model.used)).lr.tolist()
    if "max_time" not in more:
        test = LRRangeTest()
        with pytest.raises(ValueError, match=r"step_size=0.2run needs the length of the run"):
            fit(RecordingClassifier(), test, CyclicalLR(step_size="0.2run"), **more)
        assert test.result is None  # it has not begun


@pytest.mark.filterwarnings("ignore:Your `IterableDataset`")
def test_a_stream_that_is_limited_has_a_length() -> None:
    model, data = RecordingClassifier(), torch.utils.data.DataLoader(Endless(), 8)
    fit(model, CyclicalLR(0.0, 0.1, "0.5ep", fit_cycles=True), data=data, limit_train_batches=10)
    assert first_group_lrs(model) == CyclicalLR(0.0, 0.1, 5).preview(20).lr.tolist()


@pytest.mark.parametrize(
    ("trainer", "steps"),
    [
        ({}, 40),
        ({"max_steps": 30}, 30),
        ({"max_epochs": None, "max_steps": 35}, 35),
        ({"max_epochs": 5, "max_steps": 50}, 50),
        ({"accumulate_grad_batches": 3}, 14),
        ({"limit_train_batches": 0.5}, 20),
        ({"limit_train_batches": 7}, 14),
        ({"overfit_batches": 5}, 10),
        ({"reload_dataloaders_every_n_epochs": 1}, 40),
        ({"accumulate_grad_batches": 2, "max_steps": 15}, 15),
    ],
)
def test_fitted_cycles_end_with_every_run(trainer: dict[str, Any], steps: int) -> None:
    """The last step is one before base_lr, as in every cycle."""
    model = RecordingClassifier()
    fit(model, CyclicalLR(0.0, 0.1, 3, fit_cycles=True), **trainer)
    expected = Cyclical(3, 3).stretched_to(steps)
    assert expected.total_steps == steps
    assert first_group_lrs(model) == [lr_at(expected, step, 0.0, 0.1) for step in range(steps)]


@pytest.mark.filterwarnings("ignore:Your `IterableDataset`")
def test_max_steps_make_a_stream_long_enough_to_know() -> None:
    model = RecordingClassifier()
    fit(model, OneCycleLR(0.1), data=torch.utils.data.DataLoader(Endless(), 8), max_epochs=None, max_steps=10)
    assert first_group_lrs(model) == OneCycleLR(0.1).preview(10).lr.tolist()


def test_accumulation_that_changes_has_no_length() -> None:
    with pytest.raises(ValueError, match="step_size=1ep needs the length of an epoch"):
        fit(RecordingClassifier(), CyclicalLR(0.01, 0.1, "1ep"), GradientAccumulationScheduler({0: 1, 1: 4}))


@pytest.mark.parametrize("cycle", [CyclicalLR(0.0, 0.1, "1ep"), CyclicalLR(0.0, 0.1, 4, fit_cycles=True)])
def test_accumulation_by_a_callback(cycle: CyclicalLR) -> None:
    model = RecordingClassifier()
    fit(model, cycle, GradientAccumulationScheduler({0: 4}))
    assert len(model.used) == 10
    assert first_group_lrs(model) == CyclicalLR(0.0, 0.1, 5).preview(10).lr.tolist()


def test_several_steps_a_batch_are_said_where_lengths_are_epochs() -> None:
    class Twice(TwoOptimizers):
        def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
            super().training_step(batch, batch_idx)
            return super().training_step(batch, batch_idx)

    with pytest.warns(UserWarning, match=r"CyclicalLR took an epoch for 20 steps of SGD, one a batch, but it made 40"):
        fit(Twice(), CyclicalLR(0.01, 0.1, "1ep"), max_epochs=1)
    with pytest.warns(UserWarning, match="20 steps of SGD, one a batch, but it made 40: give lengths in steps"):
        fit(Twice(), CyclicalLR(0.01, 0.1, 5, fit_cycles=True), max_epochs=1)


class Growing(RecordingClassifier):
    """Its second epoch has 30 batches instead of 20."""

    def train_dataloader(self) -> Any:
        return loader(20 + 10 * self.current_epoch)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_epochs_of_varying_length_are_said(accumulate: int) -> None:
    model = Growing()
    steps = math.ceil(20 / accumulate)
    options = {"reload_dataloaders_every_n_epochs": 1, "accumulate_grad_batches": accumulate}
    trainer = quiet_trainer(callbacks=[CyclicalLR(0.01, 0.1, "1ep")], **options)
    message = f"CyclicalLR counts every epoch as {steps} steps, the length that it started with, but epoch 1 had"
    with pytest.warns(UserWarning, match=message):
        trainer.fit(model)
    assert first_group_lrs(model) == CyclicalLR(0.01, 0.1, steps).preview(len(model.used)).lr.tolist()


class EndsEarly(RecordingClassifier):
    """Its epochs end after 10 batches of 20."""

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> int | None:
        return -1 if batch_idx == 10 else None


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize(
    "callback",
    [
        CyclicalLR(0.01, 0.1, "1ep"),
        OneCycleLR(0.1),
        HypergradientLR(),
        HypergradientLR(decay="1ep"),
        HypergradientLR(decay=None, freeze_after="1ep"),
        HypergradientLR("multiplicative", freeze_after="0.5run"),
    ],
)
def test_epochs_that_the_module_ends_early_are_said_once(callback: Callback, accumulate: int) -> None:
    """The batch that was refused made no step, nor did the window that it left open."""
    model, expected = EndsEarly(), math.ceil(20 / accumulate)
    with pytest.warns(UserWarning, match="counts every epoch") as said:
        fit(model, callback, accumulate_grad_batches=accumulate)
    steps = len(model.used) // 2
    assert steps == 10 // accumulate
    message = f"counts every epoch as {expected} steps, the length that it started with, but epoch 0 had {steps}:"
    assert [message in str(warning.message) for warning in said].count(True) == 1
    assert not any("epoch 1 had" in str(warning.message) for warning in said)


@pytest.mark.parametrize(
    ("adapts", "options"),
    [
        (HypergradientLR(decay=None), {}),
        (HypergradientLR(decay=None, horizon=20, freeze_after=30), {}),
        (HypergradientLR(adapt=False), {}),
        (HypergradientLR("multiplicative"), {}),
        (HypergradientLR(), {"max_epochs": None, "max_steps": 30}),
    ],
)
def test_the_length_of_an_epoch_is_all_the_same_to_lengths_in_steps(
    adapts: HypergradientLR, options: dict[str, Any]
) -> None:
    fit(EndsEarly(), adapts, **options)


@pytest.mark.filterwarnings("ignore:.*LR counts every epoch as 20 steps")
@pytest.mark.parametrize("kind", ["in epochs", "in shares of the run", "adaptation"])
def test_a_resumed_run_counts_with_the_length_that_the_run_began_with(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Where loaders are reloaded. At the resume an epoch has 30 batches."""

    def train(*callbacks: Callback, ckpt_path: Path | None = None) -> tuple[Growing, list[str]]:
        make: dict[str, Callable[[], Callback]] = {
            "in epochs": lambda: CyclicalLR(0.01, 0.1, "1ep"),
            "in shares of the run": lambda: OneCycleLR(0.1),
            "adaptation": HypergradientLR,
        }
        caplog.clear()
        model = Growing()
        trainer = quiet_trainer(callbacks=[make[kind](), *callbacks], reload_dataloaders_every_n_epochs=1)
        with caplog.at_level(logging.INFO):
            trainer.fit(model, ckpt_path=ckpt_path)
        return model, [text for text in caplog.messages if "will fall" in text]

    path = tmp_path / "stopped.ckpt"
    whole, said = train(SaveAt(25, path))
    resumed, said_again = train(ckpt_path=path)
    assert len(resumed.used) == 25
    if kind == "adaptation":  # Lightning does not resume data within an epoch
        assert "of 40 steps" in said[0]
        assert said_again == said
    else:
        assert resumed.groups == whole.groups[25:]


def test_an_epoch_that_is_cut_short_is_no_other_length() -> None:
    fit(RecordingClassifier(), CyclicalLR(0.01, 0.1, "1ep"), max_steps=30)
    fit(RecordingClassifier(), CyclicalLR(0.01, 0.1, "1ep"), max_steps=20)
