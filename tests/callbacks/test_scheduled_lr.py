"""What holds for every schedule: peaks found by a range test, short runs, further fits, hooks and errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from lightning_lr import CyclicalLR, LRRangeTest, OneCycleLR, WarmupStableDecayLR
from tests.helpers.lightning_classes import MisconfigurationException, Trainer
from tests.helpers.recorded_steps import RecordingClassifier, first_group_lrs, fit
from tests.helpers.schedule_cases import SCHEDULES
from tests.helpers.tiny_models import loader

pytestmark = pytest.mark.filterwarnings("ignore:.*lr_scheduler.step.*")


@pytest.mark.filterwarnings("ignore:LRRangeTest is not confident")
@pytest.mark.parametrize(("kind", "name"), [(OneCycleLR, "one_cycle_max_lr"), (WarmupStableDecayLR, "lr")])
def test_open_schedules_take_their_peak_from_the_range_test(kind: Any, name: str) -> None:
    test, model = LRRangeTest(num_steps=30), RecordingClassifier()
    fit(model, test, kind())
    assert test.result is not None
    peak = getattr(test.result, name)
    assert first_group_lrs(model) == pytest.approx(kind(peak).preview(40).lr)


@pytest.mark.parametrize("kind", [OneCycleLR, WarmupStableDecayLR])
def test_a_peak_that_nobody_sets(kind: Any) -> None:
    with pytest.raises(MisconfigurationException, match=f"{kind.__name__} has no bounds: give max_lr, or add LRRange"):
        fit(RecordingClassifier(), kind())


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_trial_run_of_one_step(name: str) -> None:
    model = RecordingClassifier()
    fit(model, SCHEDULES[name](), fast_dev_run=True)
    assert len(model.used) == 1


def test_a_fit_that_goes_on_goes_on_with_the_schedule() -> None:
    """A Trainer that is given more epochs: the same run, with what remains of it."""
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        callbacks=[CyclicalLR(0.0, 0.1, 7)],
    )
    model = RecordingClassifier()
    trainer.fit(model, loader())
    trainer.fit_loop.max_epochs = 2
    trainer.fit(model, loader())
    assert first_group_lrs(model) == CyclicalLR(0.0, 0.1, 7).preview(40).lr.tolist()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: OneCycleLR(pct_start=0.0), "pct_start must be above 0 and below 1"),
        (lambda: OneCycleLR(pct_start=0.6, three_phase=True), "at most 0.5 with three_phase, got 0.6"),
        (lambda: OneCycleLR(div_factor=0.5), "div_factor must be finite and at least 1"),
        (lambda: OneCycleLR(final_div_factor=math.inf), "final_div_factor must be finite"),
        (
            lambda: OneCycleLR(wave="line"),  # type: ignore[arg-type]
            "wave must be one of triangle, cosine, got 'line'",
        ),
        (lambda: OneCycleLR(pct_start="x"), "pct_start must be a number, got 'x'"),  # type: ignore[arg-type]
        (lambda: OneCycleLR(three_phase="no"), "three_phase must be true or false, got 'no'"),  # type: ignore[arg-type]
        (lambda: OneCycleLR(total_steps="x"), "total_steps must be"),
        (lambda: OneCycleLR(max_lr=-1.0), "must be finite and at least 0"),
        (lambda: WarmupStableDecayLR(decay="x", total_steps=None), "decay must be"),
        (lambda: WarmupStableDecayLR(max_lr=0.0), "max_lr must be above 0"),
        (lambda: CyclicalLR().preview(10), "A preview of CyclicalLR needs its bounds: give base_lr and max_lr"),
        (lambda: OneCycleLR(0.1).preview(0), "steps must be a whole number of at least 1, got 0"),
        (lambda: CyclicalLR(0.1, 0.2).preview(10), "steps_per_epoch must be given, since .* in epochs, got None"),
        (lambda: CyclicalLR(0.1, 0.2).preview(10, 0), "steps_per_epoch must be a whole number of at least 1, got 0"),
        (lambda: WarmupStableDecayLR(0.1, 5, 6).preview(10), "warmup and decay must fit into the run"),
    ],
)
def test_bad_arguments(build: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        build()
    assert "\n" not in str(error.value)
