"""What holds for every schedule: exact resume, changed lengths, momentum, weight decay, groups, optimizers."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import Callback, GradientAccumulationScheduler
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from lightning_lr import CyclicalLR, LRRangeTest, OneCycleLR, WarmupStableDecayLR
from lightning_lr.callbacks._scheduled_lr import ScheduledLR
from lightning_lr.schedules.base import lr_at
from lightning_lr.schedules.cyclical import Cycles
from tests.helpers.recorded import Recorded, first, fit
from tests.helpers.tiny_models import Classifier, loader

pytestmark = pytest.mark.filterwarnings("ignore:.*lr_scheduler.step.*")

SCHEDULES: dict[str, Callable[[], ScheduledLR]] = {
    "triangular": lambda: CyclicalLR(0.01, 0.1, 7),
    "triangular2": lambda: CyclicalLR(0.01, 0.1, 4, 3, mode="triangular2"),
    "exp_range": lambda: CyclicalLR(0.01, 0.1, 7, mode="exp_range", gamma=0.97),
    "decay": lambda: CyclicalLR(0.01, 0.1, 7, mode="exp_range", decay=0.1),
    "own scale": lambda: CyclicalLR(0.01, 0.1, 7, scale_fn=math.sqrt, scale_mode="iterations"),
    "cosine": lambda: CyclicalLR(0.01, 0.1, 7, wave="cosine"),
    "growing": lambda: CyclicalLR(0.01, 0.1, 3, cycle_mult=1.7),
    "shrinking": lambda: CyclicalLR(0.01, 0.1, 10, cycle_mult=0.5, num_cycles=3),
    "warm-up": lambda: CyclicalLR(0.01, 0.1, 5, warmup=6),
    "fitted": lambda: CyclicalLR(0.01, 0.1, 6, fit_cycles=True),
    "momentum": lambda: CyclicalLR(0.01, 0.1, 7, momentum=(0.8, 0.95), weight_decay=(1e-4, 1e-2)),
    "one cycle": lambda: OneCycleLR(0.1, momentum=(0.8, 0.95)),
    "one cycle, three phases": lambda: OneCycleLR(0.1, three_phase=True, wave="triangle"),
    "warm-up, stable, decay": lambda: WarmupStableDecayLR(0.1, warmup=5, decay=10),
}


class SaveAt(Callback):
    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("stop", [4, 20, 27])
def test_resume_is_exact(name: str, stop: int, tmp_path: Path) -> None:
    """Stopped anywhere and resumed: the groups and the weights of the run that was never stopped."""
    seed_everything(0, verbose=False)
    whole = Recorded(backbone_ratio=0.3)
    fit(whole, SaveAt(stop, tmp_path / "stopped.ckpt"), SCHEDULES[name]())
    seed_everything(0, verbose=False)
    resumed = Recorded(backbone_ratio=0.3)
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
    whole = Recorded()
    whole.backbone[3] = torch.nn.Identity()  # Lightning does not save random states, which dropout draws from
    start = {key: value.clone() for key, value in whole.state_dict().items()}
    fit(whole, SaveAt(20, tmp_path / "stopped.ckpt"), SCHEDULES[name]())
    resumed = Recorded()
    resumed.backbone[3] = torch.nn.Identity()
    resumed.load_state_dict(start)
    fit(resumed, SCHEDULES[name](), ckpt_path=tmp_path / "stopped.ckpt")
    assert not torch.equal(whole.head.weight, start["head.weight"])
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key


def _resumed(before: ScheduledLR, after: ScheduledLR, path: Path, stop: int = 10, max_epochs: int = 2) -> list[float]:
    fit(Recorded(), SaveAt(stop, path / "stopped.ckpt"), before, max_epochs=1)
    model = Recorded()
    fit(model, after, ckpt_path=path / "stopped.ckpt", max_epochs=max_epochs)
    return first(model)


@pytest.mark.filterwarnings("ignore:.*is resumed with changed arguments")
def test_a_changed_length_keeps_the_phase(tmp_path: Path) -> None:
    """At a quarter of the second cycle of 8 steps, half of the way up; then cycles of 20 steps."""
    used = _resumed(CyclicalLR(0.0, 0.1, 4), CyclicalLR(0.0, 0.1, 10), tmp_path)
    assert used == pytest.approx([0.1 * min(t % 20, 20 - t % 20) / 10 for t in range(5, 35)])


@pytest.mark.filterwarnings("ignore:.*is resumed with changed arguments")
def test_a_changed_length_is_changed_only_once(tmp_path: Path) -> None:
    """Resumed again with the same length, it goes on exactly."""
    fit(Recorded(), SaveAt(10, tmp_path / "a.ckpt"), CyclicalLR(0.0, 0.1, 4), max_epochs=1)
    whole = Recorded()
    again = SaveAt(17, tmp_path / "b.ckpt")
    fit(whole, again, CyclicalLR(0.0, 0.1, 10), ckpt_path=tmp_path / "a.ckpt")
    resumed = Recorded()
    fit(resumed, CyclicalLR(0.0, 0.1, 10), ckpt_path=tmp_path / "b.ckpt")
    assert resumed.used == whole.used[7:]


def test_a_longer_run_takes_one_cycle_to_its_new_end(tmp_path: Path) -> None:
    """From phase 10/19 of 20 steps on, what remains takes the remaining 30 of 40 steps."""
    used = _resumed(OneCycleLR(0.1), OneCycleLR(0.1), tmp_path)
    before = OneCycleLR(0.1).preview(20).lr
    assert used[0] == pytest.approx(before[10], rel=0.05)
    assert all(a > b for a, b in pairwise(used))
    assert used[-1] == pytest.approx(before[-1], abs=2e-4)


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
    schedule, whole, resumed = kind(0.1), Recorded(), Recorded()

    class Change(Callback):
        def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
            if trainer.global_step == 12:
                schedule.set_max_lr(0.03)

    fit(whole, schedule, Change(), SaveAt(17, tmp_path / "run.ckpt"))
    assert first(whole) == [*kind(0.1).preview(40).lr[:12], *kind(0.03).preview(40).lr[12:]]
    fit(resumed, kind(0.1), ckpt_path=tmp_path / "run.ckpt")
    assert first(resumed) == first(whole)[17:]


def test_changed_arguments_are_named_and_win(tmp_path: Path) -> None:
    trainer = fit(Recorded(), CyclicalLR(0.01, 0.1, 5), max_epochs=1)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    resumed = Recorded()
    with pytest.warns(UserWarning, match=r"CyclicalLR is resumed with changed arguments.*max_lr: 0.1 -> 0.5"):
        fit(resumed, CyclicalLR(0.01, 0.5, 5), ckpt_path=tmp_path / "run.ckpt")
    assert first(resumed) == CyclicalLR(0.01, 0.5, 5).preview(40).lr.tolist()[20:]


def test_fitted_cycles_end_with_the_run() -> None:
    """Cycles of 12 steps in a run of 40: three, of 13 or 14 steps."""
    model = Recorded()
    fit(model, CyclicalLR(0.0, 0.1, 6, fit_cycles=True))
    zeros = [step for step, lr in enumerate(first(model)) if lr == 0]
    assert zeros == [0, 13, 27]


@pytest.mark.parametrize(
    ("optimizer", "read"), [("SGD", lambda group: group["momentum"]), ("AdamW", lambda group: group["betas"][0])]
)
def test_momentum_moves_against_the_learning_rate(optimizer: str, read: Callable[[dict[str, Any]], float]) -> None:
    model = Recorded(optimizer=optimizer)
    fit(model, CyclicalLR(0.0, 0.1, 5, momentum=(0.8, 0.9)), max_epochs=1)
    expected = [0.9 - 0.1 * min(t % 10, 10 - t % 10) / 5 for t in range(20)]
    assert [read(groups[0]) for groups in model.groups] == pytest.approx(expected)
    if optimizer == "AdamW":
        assert all(groups[0]["betas"][1] == 0.999 for groups in model.groups)


class Decayed(Recorded):
    """One group has weight decay, one has not."""

    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        optimizer.param_groups[1]["weight_decay"] = 0.3
        return optimizer


def test_weight_decay_moves_where_there_is_some() -> None:
    model = Decayed(backbone_ratio=1.0)
    fit(model, CyclicalLR(0.0, 0.1, 5, weight_decay=(0.01, 0.05)), max_epochs=1)
    assert all(groups[0]["weight_decay"] == 0 for groups in model.groups)
    expected = [0.05 - 0.04 * min(t % 10, 10 - t % 10) / 5 for t in range(20)]
    assert [groups[1]["weight_decay"] for groups in model.groups] == pytest.approx(expected)


def test_nothing_but_the_learning_rate_moves_unless_asked_for() -> None:
    model = Recorded(momentum=0.0)
    fit(model, CyclicalLR(0.01, 0.1, 5), max_epochs=1)
    assert {(groups[0]["momentum"], groups[0]["weight_decay"]) for groups in model.groups} == {(0.0, 0)}


@pytest.mark.parametrize("key", ["momentum", "weight_decay"])
def test_an_optimizer_without_it(key: str) -> None:
    class Plain(Classifier):
        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.Adagrad(self.parameters(), 0.1)
            del optimizer.param_groups[0]["weight_decay"], optimizer.defaults["weight_decay"]
            return optimizer

    with pytest.raises(MisconfigurationException, match=f"{key}=.* needs an optimizer that has .*Adagrad has not"):
        fit(Plain(), CyclicalLR(0.01, 0.1, 5, **{key: (0.1, 0.2)}))  # type: ignore[arg-type]


def test_momentum_and_weight_decay_are_logged(tmp_path: Path) -> None:
    board = TensorBoardLogger(tmp_path)
    model = Recorded()
    cycle = CyclicalLR(0.01, 0.1, 5, momentum=(0.8, 0.9), weight_decay=(0.01, 0.05))
    fit(model, cycle, logger=board, log_every_n_steps=3)
    events = EventAccumulator(board.log_dir).Reload()
    for key in ("momentum", "weight_decay"):
        logged = {event.step: event.value for event in events.Scalars(f"cyclical_lr/{key}")}
        assert logged == pytest.approx({step: model.groups[step][0][key] for step in range(2, 40, 3)}, rel=1e-6)


class Named(Recorded):
    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        for group, name in zip(optimizer.param_groups, ("backbone", "head"), strict=True):
            group["name"] = name
        return optimizer


def test_bounds_by_the_name_of_a_group() -> None:
    model = Named(backbone_ratio=0.5)
    fit(model, CyclicalLR(0.0, {"head": 0.1, "backbone": 0.02}, 5), max_epochs=1)
    assert model.used[5] == pytest.approx([0.02, 0.1])
    with pytest.raises(ValueError, match="one number for each parameter group by its name, backbone, head, got"):
        fit(Named(backbone_ratio=0.5), CyclicalLR(0.0, {"head": 0.1, "neck": 0.02}, 5))


class TwoOptimizers(Classifier):
    """Both step every batch."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.used: tuple[list[float], list[float]] = ([], [])

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        optimizers: Any = self.optimizers()
        for i, optimizer in enumerate(optimizers):
            loss = super().training_step(batch, batch_idx)
            optimizer.zero_grad()
            self.manual_backward(loss)
            self.used[i].append(optimizer.param_groups[0]["lr"])
            optimizer.step()
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.backbone.parameters(), 0.1), torch.optim.SGD(self.head.parameters(), 0.05)


def test_each_optimizer_with_a_cycle_of_its_own(tmp_path: Path) -> None:
    cycles = [CyclicalLR(0.01, 0.1, 5, optimizer=0), CyclicalLR(0.2, 0.3, 3, optimizer=1)]
    model, board = TwoOptimizers(), TensorBoardLogger(tmp_path)
    fit(model, *cycles, max_epochs=1, logger=board, log_every_n_steps=1)
    for used, cycle in zip(model.used, cycles, strict=True):
        assert used == cycle.preview(20).lr.tolist()
    events = EventAccumulator(board.log_dir).Reload()
    assert [event.value for event in events.Scalars("cyclical_lr/SGD-1/cycle")] == [1 + t // 6 for t in range(20)]
    assert [event.value for event in events.Scalars("lr/SGD-1")] == pytest.approx(model.used[1])


def test_one_optimizer_is_left_to_others() -> None:
    model = TwoOptimizers()
    fit(model, CyclicalLR(0.2, 0.3, 3, optimizer=1), max_epochs=1)
    assert model.used[0] == [0.1] * 20
    assert model.used[1] == CyclicalLR(0.2, 0.3, 3).preview(20).lr.tolist()


@pytest.mark.filterwarnings("ignore:LRRangeTest is not confident")
def test_a_range_test_gives_one_its_bounds_and_the_other_its_rate() -> None:
    model, test = TwoOptimizers(), LRRangeTest(num_steps=30)
    fit(model, test, CyclicalLR(step_size=5, optimizer=0), max_epochs=1)
    assert test.result is not None
    assert model.used[0][5] == pytest.approx(test.result.max_lr)
    assert model.used[1] == pytest.approx([0.5 * test.result.lr] * 20)


def test_two_cycles_for_one_optimizer() -> None:
    with pytest.raises(MisconfigurationException, match="CyclicalLR and OneCycleLR would both set the learning rate"):
        fit(TwoOptimizers(), CyclicalLR(0.01, 0.1, 5, optimizer=1), OneCycleLR(0.1))


def test_an_optimizer_that_is_not_there() -> None:
    with pytest.raises(MisconfigurationException, match=r"CyclicalLR\(optimizer=1\) must name one of the 1 optimizers"):
        fit(Recorded(), CyclicalLR(0.01, 0.1, 5, optimizer=1))


@pytest.mark.filterwarnings("ignore:LRRangeTest is not confident")
@pytest.mark.parametrize(("kind", "name"), [(OneCycleLR, "one_cycle_max_lr"), (WarmupStableDecayLR, "lr")])
def test_open_schedules_take_their_peak_from_the_range_test(kind: Any, name: str) -> None:
    test, model = LRRangeTest(num_steps=30), Recorded()
    fit(model, test, kind())
    assert test.result is not None
    peak = getattr(test.result, name)
    assert first(model) == pytest.approx(kind(peak).preview(40).lr)


@pytest.mark.parametrize("kind", [OneCycleLR, WarmupStableDecayLR])
def test_a_peak_that_nobody_sets(kind: Any) -> None:
    with pytest.raises(MisconfigurationException, match=f"{kind.__name__} has no bounds: give max_lr, or add LRRange"):
        fit(Recorded(), kind())


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_trial_run_of_one_step(name: str) -> None:
    model = Recorded()
    fit(model, SCHEDULES[name](), fast_dev_run=True)
    assert len(model.used) == 1


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
@pytest.mark.parametrize("limit", [{"max_time": "00:00:01:00"}, {"max_epochs": 1}])
def test_lengths_that_cannot_be_known(schedule: ScheduledLR, length: str, limit: dict[str, Any]) -> None:
    data = torch.utils.data.DataLoader(Endless(), 8)
    with pytest.raises((MisconfigurationException, ValueError), match=length):
        fit(Recorded(), schedule, data=data, **{"max_epochs": None, **limit})


@pytest.mark.parametrize("more", [{"max_time": "00:00:01:00"}, {"max_epochs": -1, "limit_train_batches": 20}])
def test_without_an_end_only_shares_of_the_run_are_unknown(more: dict[str, Any]) -> None:
    class Stop(Callback):
        def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
            trainer.should_stop = trainer.global_step >= 30

    model = Recorded()
    more = {"max_epochs": None, **more}
    fit(model, CyclicalLR(0.01, 0.1, "0.5ep"), Stop(), **more)
    assert first(model) == CyclicalLR(0.01, 0.1, 10).preview(len(model.used)).lr.tolist()
    with pytest.raises(ValueError, match=r"step_size=0.2run needs the length of the run"):
        fit(Recorded(), CyclicalLR(0.01, 0.1, "0.2run"), **more)


@pytest.mark.filterwarnings("ignore:Your `IterableDataset`")
def test_a_stream_that_is_limited_has_a_length() -> None:
    model, data = Recorded(), torch.utils.data.DataLoader(Endless(), 8)
    fit(model, CyclicalLR(0.0, 0.1, "0.5ep", fit_cycles=True), data=data, limit_train_batches=10)
    assert first(model) == CyclicalLR(0.0, 0.1, 5).preview(20).lr.tolist()


@pytest.mark.parametrize(
    ("trainer", "steps"),
    [
        ({}, 40),
        ({"max_steps": 30}, 30),
        ({"max_epochs": None, "max_steps": 35}, 35),
        ({"max_epochs": 5, "max_steps": 50}, 50),
        ({"accumulate_grad_batches": 3}, 14),
        ({"limit_train_batches": 0.5}, 20),
        ({"accumulate_grad_batches": 2, "max_steps": 15}, 15),
    ],
)
def test_fitted_cycles_end_with_every_run(trainer: dict[str, Any], steps: int) -> None:
    """The last step is one before base_lr, as in every cycle."""
    model = Recorded()
    fit(model, CyclicalLR(0.0, 0.1, 3, fit_cycles=True), **trainer)
    expected = Cycles(3, 3).fitted(steps)
    assert expected.total_steps == steps
    assert first(model) == [lr_at(expected, step, 0.0, 0.1) for step in range(steps)]


@pytest.mark.filterwarnings("ignore:Your `IterableDataset`")
def test_max_steps_make_a_stream_long_enough_to_know() -> None:
    model = Recorded()
    fit(model, OneCycleLR(0.1), data=torch.utils.data.DataLoader(Endless(), 8), max_epochs=None, max_steps=10)
    assert first(model) == OneCycleLR(0.1).preview(10).lr.tolist()


def test_accumulation_that_changes_has_no_length() -> None:
    with pytest.raises(ValueError, match="step_size=1ep needs the length of an epoch"):
        fit(Recorded(), CyclicalLR(0.01, 0.1, "1ep"), GradientAccumulationScheduler({0: 1, 1: 4}))


@pytest.mark.parametrize("cycle", [CyclicalLR(0.0, 0.1, "1ep"), CyclicalLR(0.0, 0.1, 4, fit_cycles=True)])
def test_accumulation_by_a_callback(cycle: CyclicalLR) -> None:
    model = Recorded()
    fit(model, cycle, GradientAccumulationScheduler({0: 4}))
    assert len(model.used) == 10
    assert first(model) == CyclicalLR(0.0, 0.1, 5).preview(10).lr.tolist()


@pytest.mark.parametrize("name", ["one cycle", "fitted", "decay", "warm-up, stable, decay"])
def test_a_schedule_that_a_resumed_run_begins_with(name: str, tmp_path: Path) -> None:
    """The run of its lengths is what remains; resumed again, it goes on exactly."""
    fit(Recorded(), SaveAt(10, tmp_path / "a.ckpt"), max_epochs=1)
    whole = Recorded()
    fit(whole, SaveAt(23, tmp_path / "b.ckpt"), SCHEDULES[name](), ckpt_path=tmp_path / "a.ckpt")
    assert first(whole) == SCHEDULES[name]().preview(30).lr.tolist()
    resumed = Recorded()
    fit(resumed, SCHEDULES[name](), ckpt_path=tmp_path / "b.ckpt")
    assert resumed.groups == whole.groups[13:]


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
    model = Recorded()
    trainer.fit(model, loader())
    trainer.fit_loop.max_epochs = 2
    trainer.fit(model, loader())
    assert first(model) == CyclicalLR(0.0, 0.1, 7).preview(40).lr.tolist()


def test_a_hook_of_a_subclass_is_called() -> None:
    """Those that do nothing are left out while training; an own one is not, and after training all are there again."""

    class Counting(CyclicalLR):
        calls = 0

        def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
            super().on_after_backward(trainer, pl_module)
            self.calls += 1
            assert self.on_before_backward is None

    cycle = Counting(0.01, 0.1, 5)
    own: list[int] = []
    cycle.on_before_zero_grad = lambda *_: own.append(1)  # type: ignore[method-assign]
    fit(Recorded(), cycle)
    assert cycle.calls == len(own) == 40
    assert callable(cycle.on_before_backward)


def test_several_steps_a_batch_are_said_where_lengths_are_epochs() -> None:
    class Twice(TwoOptimizers):
        def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
            super().training_step(batch, batch_idx)
            return super().training_step(batch, batch_idx)

    with pytest.warns(UserWarning, match=r"CyclicalLR took an epoch for 20 steps of SGD, one a batch, but it made 40"):
        fit(Twice(), CyclicalLR(0.01, 0.1, "1ep"), max_epochs=1)
    with pytest.warns(UserWarning, match="20 steps of SGD, one a batch, but it made 40: give lengths in steps"):
        fit(Twice(), CyclicalLR(0.01, 0.1, 5, fit_cycles=True), max_epochs=1)


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
        (lambda: WarmupStableDecayLR(max_lr=0.0), "max_lr above 0"),
        (lambda: CyclicalLR().preview(10), "A preview of CyclicalLR needs its bounds: give base_lr and max_lr"),
        (lambda: OneCycleLR(0.1).preview(0), "steps must be at least 1, got 0"),
        (lambda: CyclicalLR(0.1, 0.2).preview(10), "steps_per_epoch must be at least 1, since .* in epochs, got None"),
        (lambda: CyclicalLR(0.1, 0.2).preview(10, 0), "steps_per_epoch must be at least 1, since .* in epochs, got 0"),
        (lambda: WarmupStableDecayLR(0.1, 5, 6).preview(10), "warmup and decay must fit into the run"),
    ],
)
def test_bad_arguments(build: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        build()
    assert "\n" not in str(error.value)
