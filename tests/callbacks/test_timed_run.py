"""Runs that end by time alone: schedules whose lengths are shares of the run end with it, by its measured speed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lightning_lr import CyclicalLR, OneCycleLR, WarmupStableDecayLR
from lightning_lr.callbacks._scheduled_lr import ScheduledLR
from tests.helpers.lightning_classes import Callback, MisconfigurationException, Trainer, callbacks
from tests.helpers.recorded_steps import RecordingClassifier, first_group_lrs, fit
from tests.helpers.schedule_cases import SaveAt
from tests.helpers.tiny_models import loader, quiet_trainer

pytestmark = pytest.mark.filterwarnings("ignore:.*lr_scheduler.step.*before.*optimizer.step.*")
LIMIT = 100.0  # seconds


class StepTimer(callbacks.Timer):
    """A Timer whose clock moves with the optimizer steps.

    Args:
        seconds: after a number of steps, on a rank.
    """

    def __init__(self, seconds: Callable[[int, int], float]) -> None:
        super().__init__({"seconds": int(LIMIT)}, verbose=False)
        self._seconds = seconds
        self._trainer: Trainer | None = None

    def on_fit_start(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        self._trainer = trainer

    def time_elapsed(self, stage: str = "train") -> float:
        return 0.0 if self._trainer is None else self._seconds(self._trainer.global_step, self._trainer.global_rank)


def steady(step: int, rank: int) -> float:
    return step * (1.0 + 0.5 * rank)


def slower_later(step: int, rank: int) -> float:
    return step + max(0, step - 40)


def faster_later(step: int, rank: int) -> float:
    return step - max(0, step - 40) / 2


def faster_at_the_end(step: int, rank: int) -> float:
    return step - max(0, step - 90) * 0.82


def fit_timed(schedule: ScheduledLR, seconds: Callable[[int, int], float], *more: Callback, **options: Any) -> Any:
    model = RecordingClassifier()
    fit(model, schedule, StepTimer(seconds), *more, **{"max_epochs": -1, **options})
    return np.array(first_group_lrs(model))


@pytest.mark.parametrize(("seconds", "steps"), [(steady, 100), (slower_later, 70), (faster_later, 160)])
@pytest.mark.parametrize("schedule", [OneCycleLR(0.1), WarmupStableDecayLR(0.1)])
def test_a_schedule_ends_with_the_run(schedule: ScheduledLR, seconds: Callable[[int, int], float], steps: int) -> None:
    used = fit_timed(schedule, seconds)
    assert len(used) == steps
    assert used[0] < 0.01
    assert used.max() > 0.099
    assert used[-1] < 0.01 if isinstance(schedule, OneCycleLR) else used[-1] < 0.03  # whose fall is steepest there


def test_a_steady_run_equals_one_of_known_length() -> None:
    """But for the first steps, in which the speed is not known."""
    used, known = fit_timed(OneCycleLR(0.1), steady), OneCycleLR(0.1).preview(100).lr
    np.testing.assert_allclose(used, known, atol=0.012)
    np.testing.assert_allclose(used[50:], known[50:], atol=0.006)


def test_cycles_of_a_share_of_the_run() -> None:
    used = fit_timed(CyclicalLR(0.0, 0.1, "0.125run"), steady)
    lows = [step for step in range(1, 99) if used[step - 1] > used[step] < used[step + 1]]
    assert lows == pytest.approx([25, 50, 75], abs=2)
    assert used.max() > 0.095
    assert used[-1] < 0.02  # two steps before the end of a fall of 12 steps


@pytest.mark.parametrize("shape", [{}, {"cycle_mult": 1.0, "num_cycles": 9}, {"fit_cycles": True}])
@pytest.mark.parametrize(("seconds", "steps"), [(steady, 100), (faster_at_the_end, 146)])
def test_warm_restarts_do_not_end_at_the_peak(
    shape: dict[str, Any], seconds: Callable[[int, int], float], steps: int
) -> None:
    restarts = CyclicalLR(0.0, 0.1, 0, "0.25run", wave="cosine", **shape)
    used = fit_timed(restarts, seconds)
    assert len(used) == steps
    assert used[0] == 0.1
    assert used[5:].max() > 0.095
    assert used[-4:].max() < 0.01


def test_decay_is_a_share_of_the_run() -> None:
    used = fit_timed(CyclicalLR(0.0, 0.1, "0.125run", mode="exp_range", decay=0.1), steady)
    known = CyclicalLR(0.0, 0.1, "0.125run", mode="exp_range", decay=0.1).preview(100).lr
    np.testing.assert_allclose(used[30:], known[30:], atol=0.012)


@pytest.mark.parametrize(
    "scale", [{"mode": "exp_range", "gamma": 0.999}, {"scale_fn": abs, "scale_mode": "iterations"}]
)
def test_a_scale_of_steps_is_refused(scale: dict[str, Any]) -> None:
    """A step of a timed schedule is not a step of the optimizer."""
    with pytest.raises(
        MisconfigurationException, match=r"gamma or scale_fn.*only max_time ends.*decay instead of gamma"
    ):
        fit_timed(CyclicalLR(0.0, 0.1, "0.5run", **scale), steady)


def test_a_scale_of_cycles_is_not() -> None:
    used = fit_timed(CyclicalLR(0.0, 0.1, "0.25run", mode="triangular2"), steady)
    assert used[:50].max() > 0.095
    assert used[50:].max() == pytest.approx(0.05, rel=0.05)


def test_a_coarse_clock_is_read_until_it_moves() -> None:
    """A clock of 16 s: it stands still for the first 15 steps."""
    used = fit_timed(OneCycleLR(0.1), lambda step, _: step // 16 * 16)
    assert len(used) == 112
    assert used.max() > 0.099
    assert used[20:60].min() > 0.01
    assert used[-1] < 0.01


def test_a_resumed_run_goes_on_where_it_stood(tmp_path: Path) -> None:
    whole = fit_timed(OneCycleLR(0.1), steady, SaveAt(50, tmp_path / "run.ckpt"))
    resumed = fit_timed(OneCycleLR(0.1), steady, ckpt_path=tmp_path / "run.ckpt")
    assert resumed[0] == whole[50]
    np.testing.assert_allclose(resumed, whole[50:], rtol=1e-9)


@pytest.mark.parametrize("schedule", [OneCycleLR(0.1), CyclicalLR(0.0, 0.1, "0.125run")])
def test_more_time_for_a_finished_run_warns(schedule: ScheduledLR, tmp_path: Path) -> None:
    fit_timed(schedule, steady, SaveAt(100, tmp_path / "run.ckpt"))
    with pytest.warns(UserWarning, match="had reached its end before this fit, which therefore trains with its last"):
        used = fit_timed(schedule, lambda step, _: step / 2, ckpt_path=tmp_path / "run.ckpt")
    assert len(used) == 100
    assert used[4:].max() < 0.01  # after its speed is measured


class LowAtEnd(Callback):
    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        used = first_group_lrs(pl_module)
        assert len(used) == 100
        assert used[-1] < 0.01


@pytest.mark.skipif(torch.cuda.is_available(), reason="a process that has used CUDA cannot fork")
def test_the_clock_of_the_first_rank_counts() -> None:
    more = [StepTimer(steady), LowAtEnd()]
    options: dict[str, Any] = {"strategy": "ddp_fork", "accelerator": "cpu", "devices": 2, "max_epochs": -1}
    quiet_trainer(callbacks=[OneCycleLR(0.1), *more], **options).fit(RecordingClassifier(), loader())


@pytest.mark.parametrize("schedule", [CyclicalLR(0.0, 0.1, 5, fit_cycles=True), WarmupStableDecayLR(0.1, warmup=5)])
def test_lengths_in_other_units_are_refused(schedule: ScheduledLR) -> None:
    with pytest.raises(MisconfigurationException, match=r"only max_time ends: give all lengths as shares of the run"):
        fit_timed(schedule, steady)


def test_another_limit_decides() -> None:
    """With max_steps the length is known."""
    assert fit_timed(OneCycleLR(0.1), steady, max_steps=30).tolist() == OneCycleLR(0.1).preview(30).lr.tolist()
