"""A schedule in a run that is resumed: exactly, with changed lengths, with changed arguments."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_lr import CyclicalLR, HypergradientLR, OneCycleLR, WarmupStableDecayLR
from lightning_lr.callbacks._scheduled_lr import ScheduledLR
from tests.helpers.lightning_classes import Callback, Trainer, seed_everything
from tests.helpers.recorded_steps import RecordingClassifier, first_group_lrs, fit
from tests.helpers.schedule_cases import SCHEDULES, SaveAt
from tests.helpers.tiny_models import loader

pytestmark = pytest.mark.filterwarnings("ignore:.*lr_scheduler.step.*")


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("stop", [4, 20, 27])
def test_resume_is_exact(name: str, stop: int, tmp_path: Path) -> None:
    """Stopped anywhere and resumed: the groups and the weights of the run that was never stopped."""
    seed_everything(0, verbose=False)
    whole = RecordingClassifier(backbone_ratio=0.3)
    fit(whole, SaveAt(stop, tmp_path / "stopped.ckpt"), SCHEDULES[name]())
    seed_everything(0, verbose=False)
    resumed = RecordingClassifier(backbone_ratio=0.3)
    callback = SCHEDULES[name]()
    fit(resumed, callback, ckpt_path=tmp_path / "stopped.ckpt")
    assert resumed.groups == whole.groups[-len(resumed.groups) :]
    assert len(resumed.used) == 40 - stop
    preview = SCHEDULES[name]().preview(40)
    assert [rates[1] for rates in whole.used] == preview.lr.tolist()


@pytest.mark.parametrize("name", SCHEDULES)
def test_resumed_weights_are_those_of_the_whole_run(name: str, tmp_path: Path) -> None:
    """Bit for bit, at the end of an epoch, where Lightning can resume the data in order."""
    torch.manual_seed(0)
    whole = RecordingClassifier()
    whole.backbone[3] = torch.nn.Identity()  # Lightning does not save random states, which dropout draws from
    start = {key: value.clone() for key, value in whole.state_dict().items()}
    fit(whole, SaveAt(20, tmp_path / "stopped.ckpt"), SCHEDULES[name]())
    resumed = RecordingClassifier()
    resumed.backbone[3] = torch.nn.Identity()
    resumed.load_state_dict(start)
    fit(resumed, SCHEDULES[name](), ckpt_path=tmp_path / "stopped.ckpt")
    assert not torch.equal(whole.head.weight, start["head.weight"])
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key


def _resumed(before: ScheduledLR, after: ScheduledLR, path: Path, stop: int = 10, max_epochs: int = 2) -> list[float]:
    fit(RecordingClassifier(), SaveAt(stop, path / "stopped.ckpt"), before, max_epochs=1)
    model = RecordingClassifier()
    fit(model, after, ckpt_path=path / "stopped.ckpt", max_epochs=max_epochs)
    return first_group_lrs(model)


@pytest.mark.filterwarnings("ignore:.*is resumed with changed arguments")
def test_a_changed_length_keeps_the_phase(tmp_path: Path) -> None:
    """At a quarter of the second cycle of 8 steps, half of the way up; then cycles of 20 steps."""
    used = _resumed(CyclicalLR(0.0, 0.1, 4), CyclicalLR(0.0, 0.1, 10), tmp_path)
    assert used == pytest.approx([0.1 * min(t % 20, 20 - t % 20) / 10 for t in range(5, 35)])


@pytest.mark.filterwarnings("ignore:.*is resumed with changed arguments")
def test_a_changed_length_is_changed_only_once(tmp_path: Path) -> None:
    """Resumed again with the same length, it goes on exactly."""
    fit(RecordingClassifier(), SaveAt(10, tmp_path / "a.ckpt"), CyclicalLR(0.0, 0.1, 4), max_epochs=1)
    whole = RecordingClassifier()
    again = SaveAt(17, tmp_path / "b.ckpt")
    fit(whole, again, CyclicalLR(0.0, 0.1, 10), ckpt_path=tmp_path / "a.ckpt")
    resumed = RecordingClassifier()
    fit(resumed, CyclicalLR(0.0, 0.1, 10), ckpt_path=tmp_path / "b.ckpt")
    assert resumed.used == whole.used[7:]


def test_a_longer_run_takes_one_cycle_to_its_new_end(tmp_path: Path) -> None:
    """From phase 10/19 of 20 steps on, what remains takes the remaining 30 of 40 steps."""
    used = _resumed(OneCycleLR(0.1), OneCycleLR(0.1), tmp_path)
    before = OneCycleLR(0.1).preview(20).lr
    assert used[0] == pytest.approx(before[10], rel=0.05)
    assert all(a > b for a, b in pairwise(used))
    assert used[-1] == pytest.approx(before[-1], abs=2e-4)


class SaveOnceAt(SaveAt):
    """Not again in the batches that are accumulated for the next step, but at the end of the epoch."""

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        if not self.path.exists():
            super().on_train_batch_end(trainer, *args)

    def on_train_epoch_end(self, trainer: Trainer, *args: Any) -> None:
        super().on_train_batch_end(trainer, *args)


@pytest.mark.filterwarnings("ignore:.*LR counts every epoch as .* but epoch 1 had")  # which has some of both lengths
@pytest.mark.parametrize("kind", [OneCycleLR, WarmupStableDecayLR, HypergradientLR])
@pytest.mark.parametrize(("stop", "again_at"), [(26, 34), (40, 60)])  # batches: within an epoch, and at its end
@pytest.mark.parametrize("accumulated", [(1, 2), (2, 1)])
def test_epochs_of_another_length_from_the_resume_on(
    kind: Any, stop: int, again_at: int, accumulated: tuple[int, int], tmp_path: Path
) -> None:
    """As with other devices or batches: the schedule comes to its end with the run, and is resumed again exactly."""

    def train(batches: int, *callbacks: Callback, ckpt_path: Path | None = None) -> list[float]:
        callback = HypergradientLR() if kind is HypergradientLR else kind(0.1)
        model = RecordingClassifier()
        fit(model, callback, *callbacks, ckpt_path=ckpt_path, max_epochs=4, accumulate_grad_batches=batches)
        return first_group_lrs(model)

    before, after = accumulated
    first, second = tmp_path / "first.ckpt", tmp_path / "second.ckpt"
    train(before, SaveOnceAt(stop // before, first))
    steps = (again_at - stop) // after
    used = train(after, SaveOnceAt(stop // before + steps, second), ckpt_path=first)
    assert len(used) == (80 - stop) // after
    highest = max(used) if kind is HypergradientLR else used[0]  # an adapted rate may rise after the resume
    assert highest > 10 * used[-1] > 0
    assert used[-1] < used[-2] < used[-3]
    again = train(after, ckpt_path=second)
    assert again == (used[steps:] if kind is not HypergradientLR else pytest.approx(used[steps:], rel=0.5))


def test_a_schedule_of_a_resumed_run_ends_with_epochs_of_another_length(tmp_path: Path) -> None:
    """It begins at the resume, and has the run that is left."""
    fit(RecordingClassifier(), SaveAt(20, tmp_path / "run.ckpt"), max_epochs=4)
    model = RecordingClassifier()
    fit(model, OneCycleLR(0.1), ckpt_path=tmp_path / "run.ckpt", max_epochs=4, accumulate_grad_batches=2)
    assert first_group_lrs(model) == OneCycleLR(0.1).preview(30).lr.tolist()


def test_a_longer_run_takes_fitted_cycles_to_its_new_end(tmp_path: Path) -> None:
    used = _resumed(CyclicalLR(0.0, 0.1, 5, fit_cycles=True), CyclicalLR(0.0, 0.1, 5, fit_cycles=True), tmp_path)
    assert used == pytest.approx([0.1 * min(t % 10, 10 - t % 10) / 5 for t in range(10, 40)])


@pytest.mark.filterwarnings("ignore:.*is resumed with changed arguments")
def test_an_open_end_falls_once_it_is_known(tmp_path: Path) -> None:
    held = WarmupStableDecayLR(0.1, warmup=3, decay=10, total_steps=None)
    used = _resumed(held, WarmupStableDecayLR(0.1, warmup=3, decay=10), tmp_path)
    assert used[:21] == [0.1] * 21
    assert used[21:] == pytest.approx([0.1 * (1 - math.sqrt(t / 10)) for t in range(1, 10)])


@pytest.mark.parametrize("kind", [OneCycleLR, WarmupStableDecayLR])
def test_a_peak_that_is_set_while_running_is_kept_on_resume(kind: Any, tmp_path: Path) -> None:
    schedule, whole, resumed = kind(0.1), RecordingClassifier(), RecordingClassifier()

    class Change(Callback):
        def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
            if trainer.global_step == 12:
                schedule.set_max_lr(0.03)

    fit(whole, schedule, Change(), SaveAt(17, tmp_path / "run.ckpt"))
    assert first_group_lrs(whole) == [*kind(0.1).preview(40).lr[:12], *kind(0.03).preview(40).lr[12:]]
    fit(resumed, kind(0.1), ckpt_path=tmp_path / "run.ckpt")
    assert first_group_lrs(resumed) == first_group_lrs(whole)[17:]


def test_changed_arguments_are_named_and_win(tmp_path: Path) -> None:
    trainer = fit(RecordingClassifier(), CyclicalLR(0.01, 0.1, 5), max_epochs=1)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    resumed = RecordingClassifier()
    with pytest.warns(UserWarning, match=r"CyclicalLR is resumed with changed arguments.*max_lr: 0.1 -> 0.5"):
        fit(resumed, CyclicalLR(0.01, 0.5, 5), ckpt_path=tmp_path / "run.ckpt")
    assert first_group_lrs(resumed) == CyclicalLR(0.01, 0.5, 5).preview(40).lr.tolist()[20:]


@pytest.mark.parametrize("name", ["one cycle", "fitted", "decay", "warm-up, stable, decay"])
def test_a_schedule_that_a_resumed_run_begins_with(name: str, tmp_path: Path) -> None:
    """The run of its lengths is what remains; resumed again, it goes on exactly."""
    fit(RecordingClassifier(), SaveAt(10, tmp_path / "a.ckpt"), max_epochs=1)
    whole = RecordingClassifier()
    fit(whole, SaveAt(23, tmp_path / "b.ckpt"), SCHEDULES[name](), ckpt_path=tmp_path / "a.ckpt")
    assert first_group_lrs(whole) == SCHEDULES[name]().preview(30).lr.tolist()
    resumed = RecordingClassifier()
    fit(resumed, SCHEDULES[name](), ckpt_path=tmp_path / "b.ckpt")
    assert resumed.groups == whole.groups[13:]


@pytest.mark.parametrize("kind", [OneCycleLR, WarmupStableDecayLR])
def test_a_fit_that_goes_on_after_the_end(kind: Any) -> None:
    """One cycle stays at its end, and says so. A constant learning rate can be taken up again."""
    model, schedule = RecordingClassifier(), kind(0.1)
    trainer = fit(model, schedule, max_epochs=1)
    trainer.fit_loop.max_epochs = 2
    if kind is OneCycleLR:
        with pytest.warns(UserWarning, match="OneCycleLR had reached its end before this fit.*: for another cycle use"):
            trainer.fit(model, loader())
        assert set(first_group_lrs(model)[20:]) == {first_group_lrs(model)[19]}
    else:
        trainer.fit(model, loader())
        assert first_group_lrs(model)[20] == 0.1
