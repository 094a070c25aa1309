"""`CyclicalLR` in a Trainer: the rates that optimizer steps really use."""

from __future__ import annotations

import json
import math
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from lightning_lr import CyclicalLR, LRRangeTest, OneCycleLR
from tests.helpers.chosen_device import DEVICE
from tests.helpers.lightning_classes import (
    BackboneFinetuning,
    Callback,
    CSVLogger,
    LearningRateMonitor,
    MisconfigurationException,
    MixedPrecision,
    StochasticWeightAveraging,
    TensorBoardLogger,
    Trainer,
)
from tests.helpers.recorded_steps import RecordingClassifier, first_group_lrs, fit
from tests.helpers.tiny_models import Classifier, ManualWithTwoOptimizers, loader, quiet_trainer


def _closed_form(t: int, mode: str, up: int, down: int, base: float, peak: float, gamma: float = 1.0) -> float:
    """The formula of the paper, in floats."""
    cycle = 1 + t // (up + down)
    x = t / (up + down) - (cycle - 1)
    rho = up / (up + down)
    f = x / rho if x <= rho else (1 - x) / (1 - rho)
    scale = {"triangular": 1.0, "triangular2": 2.0 ** -(cycle - 1), "exp_range": gamma**t}[mode]
    return base + (peak - base) * f * scale


@pytest.mark.parametrize(
    ("mode", "more"),
    [("triangular", {}), ("triangular2", {}), ("exp_range", {"gamma": 0.95}), ("exp_range", {"decay": 0.1})],
)
def test_every_step_uses_the_formula(mode: Any, more: dict[str, Any]) -> None:
    model = RecordingClassifier()
    fit(model, CyclicalLR(0.01, 0.1, 5, 3, mode=mode, **more))
    gamma = more.get("gamma", 0.1 ** (1 / 40))
    expected = [_closed_form(t, mode, 5, 3, 0.01, 0.1, gamma) for t in range(40)]
    assert first_group_lrs(model) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("step_size", "up"), [(7, 7), ("7", 7), ("0.5ep", 10), ("1ep", 20), ("0.25run", 10)])
def test_step_size(step_size: int | str, up: int) -> None:
    model = RecordingClassifier()
    fit(model, CyclicalLR(0.01, 0.1, step_size))
    assert first_group_lrs(model) == pytest.approx(
        [_closed_form(t, "triangular", up, up, 0.01, 0.1) for t in range(40)]
    )


def test_counts_optimizer_steps_under_accumulation() -> None:
    model = RecordingClassifier()
    fit(model, CyclicalLR(0.01, 0.1, "1ep"), accumulate_grad_batches=3)
    assert first_group_lrs(model) == pytest.approx([_closed_form(t, "triangular", 7, 7, 0.01, 0.1) for t in range(14)])


class Overflows(RecordingClassifier):
    """Every fifth loss overflows in half precision."""

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        return loss * torch.inf if batch_idx % 5 == 2 else loss


def test_a_step_that_amp_skipped_is_not_one() -> None:
    model = Overflows()
    scaler = torch.amp.GradScaler(DEVICE, init_scale=4.0)
    fit(model, CyclicalLR(0.01, 0.1, 5), plugins=[MixedPrecision("16-mixed", DEVICE, scaler=scaler)])
    assert len(model.used) == 32
    assert first_group_lrs(model) == pytest.approx([_closed_form(t, "triangular", 5, 5, 0.01, 0.1) for t in range(32)])


def test_groups_keep_their_ratio_and_bounds_can_be_given_for_each() -> None:
    ratio, each = RecordingClassifier(backbone_ratio=0.1), RecordingClassifier(backbone_ratio=0.1)
    fit(ratio, CyclicalLR(0.01, 0.1, 5))
    fit(each, CyclicalLR([0.01, 0.02], [0.1, 0.3], 5))
    for t in range(40):
        peak = _closed_form(t, "triangular", 5, 5, 0.01, 0.1)
        assert ratio.used[t] == pytest.approx([0.1 * peak, peak])
        assert each.used[t] == pytest.approx([peak, _closed_form(t, "triangular", 5, 5, 0.02, 0.3)])


class TensorRate(RecordingClassifier):
    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        self.rate = optimizer.param_groups[0]["lr"] = torch.tensor(0.01)
        return optimizer


def test_a_tensor_stays_the_same_tensor() -> None:
    model = TensorRate()
    trainer = fit(model, CyclicalLR(0.01, 0.1, 5))
    assert trainer.optimizers[0].param_groups[0]["lr"] is model.rate
    expected = [_closed_form(t, "triangular", 5, 5, 0.01, 0.1) for t in range(40)]
    assert first_group_lrs(model) == pytest.approx(expected, rel=1e-6)


class Manual(Classifier):
    """The first optimizer steps twice a batch, the second every other batch."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.used: tuple[list[float], list[float]] = ([], [])

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        first, second = self.optimizers()  # type: ignore[attr-defined]
        for optimizer, times in ((first, 2), (second, batch_idx % 2)):
            for _ in range(times):
                loss = super().training_step(batch, batch_idx)
                optimizer.zero_grad()
                self.manual_backward(loss)
                self.used[optimizer is second].append(optimizer.param_groups[0]["lr"])
                optimizer.step()
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.backbone.parameters(), 0.1), torch.optim.Adam(self.head.parameters(), 0.05)


def test_each_optimizer_is_counted_by_its_own_steps() -> None:
    model = Manual()
    fit(model, CyclicalLR(0.01, 0.1, 5), max_epochs=1)
    first, second = model.used
    assert first == pytest.approx([_closed_form(t, "triangular", 5, 5, 0.01, 0.1) for t in range(40)])
    assert second == pytest.approx([0.5 * _closed_form(t, "triangular", 5, 5, 0.01, 0.1) for t in range(10)])


def test_groups_added_by_unfreezing_keep_their_ratio() -> None:
    class Head(RecordingClassifier):
        def configure_optimizers(self) -> Any:
            self.optimizer = torch.optim.SGD(self.head.parameters(), 0.1, momentum=0.9)
            self.optimizer.register_step_pre_hook(lambda opt, *_: self.record(opt))
            return self.optimizer

    model = Head()
    unfreeze = BackboneFinetuning(unfreeze_backbone_at_epoch=1, backbone_initial_ratio_lr=0.1, should_align=False)
    fit(model, unfreeze, CyclicalLR(0.01, 0.1, 7))
    assert all(len(rates) == 1 for rates in model.used[:20])
    assert all(rates[1] == pytest.approx(0.1 * rates[0]) for rates in model.used[20:])
    assert first_group_lrs(model) == pytest.approx([_closed_form(t, "triangular", 7, 7, 0.01, 0.1) for t in range(40)])


def test_set_bounds_while_running_is_kept_on_resume(tmp_path: Path) -> None:
    cycle = CyclicalLR(0.01, 0.1, 5)

    class Change(Callback):
        def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
            if trainer.global_step == 12:
                cycle.set_bounds(0.001, 0.01)

    model = RecordingClassifier()
    trainer = fit(model, cycle, Change(), max_epochs=1)
    before = [_closed_form(t, "triangular", 5, 5, 0.01, 0.1) for t in range(12)]
    after = [_closed_form(t, "triangular", 5, 5, 0.001, 0.01) for t in range(12, 40)]
    assert first_group_lrs(model) == pytest.approx(before + after[:8])

    trainer.save_checkpoint(tmp_path / "changed.ckpt")
    resumed = RecordingClassifier()
    quiet_trainer(callbacks=[CyclicalLR(0.01, 0.1, 5)]).fit(resumed, loader(), ckpt_path=tmp_path / "changed.ckpt")
    assert first_group_lrs(resumed) == pytest.approx(after[8:])


def test_bounds_that_do_not_fit_change_nothing() -> None:
    cycle = CyclicalLR(0.01, 0.1, 5)

    class Change(Callback):
        def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
            if trainer.global_step == 3:
                with pytest.raises(ValueError, match="one for each of the 1 parameter groups"):
                    cycle.set_bounds([0.1, 0.2], [0.3, 0.4])

    model = RecordingClassifier()
    fit(model, cycle, Change(), max_epochs=1)
    assert first_group_lrs(model) == CyclicalLR(0.01, 0.1, 5).preview(20).lr.tolist()
    assert cycle.state_dict()["bounds"] == {"base_lr": 0.01, "max_lr": 0.1}


def test_numpy_numbers_are_kept_as_plain_ones(tmp_path: Path) -> None:
    """Else torch refuses to load the checkpoint safely."""
    cycle = CyclicalLR(np.float32(0.25), np.array([0.5]), np.int64(5), num_cycles=np.int64(2))  # type: ignore[arg-type]
    trainer = fit(RecordingClassifier(), cycle, max_epochs=1)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    arguments = torch.load(tmp_path / "run.ckpt", weights_only=True)["callbacks"][cycle.state_key]["arguments"]
    assert (arguments["base_lr"], arguments["max_lr"], arguments["step_size"]) == (0.25, [0.5], 5)
    fit(RecordingClassifier(), CyclicalLR(0.25, [0.5], 5, num_cycles=2), ckpt_path=tmp_path / "run.ckpt")
    half = np.float64(0.5)
    more: dict[str, Any] = {"mode": "exp_range", "decay": half, "momentum": (half, half)}
    for other in (CyclicalLR(half, half, 5, **more), OneCycleLR(half, pct_start=half)):
        fit(RecordingClassifier(), other, max_epochs=1).save_checkpoint(tmp_path / "other.ckpt")
        torch.load(tmp_path / "other.ckpt", weights_only=True)


def test_a_scale_by_any_dotted_path() -> None:
    """Of what can be called, also where it knows no name of its own."""
    scaled = CyclicalLR(0.0, 0.1, 2, scale_fn="numpy.sqrt").preview(8).lr
    assert scaled == pytest.approx(CyclicalLR(0.0, 0.1, 2, scale_fn=math.sqrt).preview(8).lr)


def test_a_second_fit_starts_anew() -> None:
    cycle = CyclicalLR(0.01, 0.1, 7)
    fit(RecordingClassifier(), cycle, max_epochs=1)
    again = RecordingClassifier()
    fit(again, cycle, max_epochs=1)
    assert first_group_lrs(again) == pytest.approx([_closed_form(t, "triangular", 7, 7, 0.01, 0.1) for t in range(20)])


@pytest.mark.parametrize("monitor_first", [True, False])
def test_learning_rate_monitor_logs_the_rate_that_is_used(monitor_first: bool, tmp_path: Path) -> None:
    model, monitor, cycle = RecordingClassifier(), LearningRateMonitor("step"), CyclicalLR(0.01, 0.1, 5)
    order = [monitor, cycle] if monitor_first else [cycle, monitor]
    fit(model, *order, logger=CSVLogger(tmp_path), log_every_n_steps=1)
    assert monitor.lrs["lr-SGD"] == first_group_lrs(model)


@pytest.mark.filterwarnings("ignore:LRRangeTest is not confident")
def test_cycle_and_phase_are_logged_when_another_callback_traces(tmp_path: Path) -> None:
    board = TensorBoardLogger(tmp_path)
    callbacks = [LRRangeTest(num_steps=20), CyclicalLR(step_size=5, log_position=True)]
    fit(RecordingClassifier(), *callbacks, logger=board, log_every_n_steps=5, max_epochs=1)
    events = EventAccumulator(board.log_dir).Reload()
    assert [event.value for event in events.Scalars("cyclical_lr/cycle")] == [1, 1, 2, 2]
    assert [event.step for event in events.Scalars("lr/SGD")] == [4, 9, 14, 19]


def test_logged_rates_are_those_that_were_used(tmp_path: Path) -> None:
    model = RecordingClassifier(backbone_ratio=0.1)
    board = TensorBoardLogger(tmp_path)
    fit(model, CyclicalLR(0.01, 0.1, 5, log_position=True), logger=board, log_every_n_steps=3)
    events = EventAccumulator(board.log_dir).Reload()
    for i, name in enumerate(("pg1", "pg2")):
        logged = {event.step: event.value for event in events.Scalars(f"lr/SGD/{name}")}
        assert logged == pytest.approx({step: model.used[step][i] for step in range(2, 40, 3)}, rel=1e-6)
    losses = {event.step: event.value for event in events.Scalars("lr/loss")}
    assert losses == pytest.approx({step: model.losses[step] for step in range(2, 40, 3)}, rel=1e-5)
    assert [e.value for e in events.Scalars("cyclical_lr/cycle")] == [1 + step // 10 for step in range(2, 40, 3)]
    assert [e.value for e in events.Scalars("cyclical_lr/phase")] == pytest.approx(
        [step % 10 / 10 for step in range(2, 40, 3)], abs=1e-6
    )


def test_figure_of_all_cycles_at_the_end_of_the_run(tmp_path: Path) -> None:
    """In TensorBoard, over the cycles before an interruption too, with a point in each twenty-fifth that had a step."""
    boards = [TensorBoardLogger(tmp_path, version=version) for version in (0, 1)]
    cycle = CyclicalLR(0.01, 0.1, 4)
    model = RecordingClassifier()
    trainer = fit(model, cycle, logger=boards[0])
    points = cycle.state_dict()["losses"]
    assert [point[:2] for point in points] == [[1 + t // 8, t % 8 / 8] for t in range(40)]
    assert [point[2] for point in points] == pytest.approx(model.losses)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    again = CyclicalLR(0.01, 0.1, 4)
    fit(RecordingClassifier(), again, logger=boards[1], max_epochs=3, ckpt_path=tmp_path / "run.ckpt")
    assert again.state_dict()["losses"][:40] == points
    assert len(again.state_dict()["losses"]) == 60
    for board, step in zip(boards, (40, 60), strict=True):
        images = EventAccumulator(board.log_dir).Reload().Images("cyclical_lr/loss_vs_phase")
        assert [image.step for image in images] == [step]


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize(("delay", "records"), [(-1.0, 5), (1000.0, 1)])
def test_starts_of_cycles_are_logged_with_the_points_of_a_second(
    delay: float, records: int, fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the last ones at the end, also after an error. Each record holds all."""
    monkeypatch.setattr("lightning_lr.trainer.lr_tracer._MAX_DELAY", delay)

    class Failing(RecordingClassifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            if fails and self.global_step == 38:
                raise RuntimeError("of the user")
            return super().training_step(batch, batch_idx)

    board = TensorBoardLogger(tmp_path)
    with pytest.raises(RuntimeError, match="of the user") if fails else nullcontext():
        fit(Failing(), CyclicalLR(0.01, 0.1, 4), logger=board, log_every_n_steps=1)
    board.experiment.flush()
    events = EventAccumulator(board.log_dir).Reload().Tensors("cyclical_lr/record")
    starts = [json.loads(event.tensor_proto.string_val[0])["starts"] for event in events]
    expected = [[1, 0], [2, 8], [3, 16], [4, 24], [5, 32]]
    assert starts == [expected[:count] for count in range(1, 6)][-records:]
    assert events[-1].step == 32


@pytest.mark.parametrize("fails", [False, True])
def test_an_error_of_the_writer_of_starts_ends_the_run_cleanly(
    fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If training has failed before, the user sees that error, not this one."""

    def full(*_: Any, **__: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("lightning_lr.trainer.cycle_losses.log_record", full)
    model = RecordingClassifier()

    class Failing(Callback):
        def on_train_end(self, *_: Any) -> None:
            if fails:
                raise RuntimeError("of the user")

    callbacks = [Failing(), CyclicalLR(0.01, 0.1, 4)]
    with pytest.raises((RuntimeError, OSError), match="of the user" if fails else "No space left"):
        fit(model, *callbacks, logger=TensorBoardLogger(tmp_path))
    assert not model.trainer.optimizers[0]._optimizer_step_post_hooks
    assert not hasattr(model.trainer._logger_connector, "lr_sources")


def test_each_of_two_schedules_has_a_figure(tmp_path: Path) -> None:
    board = TensorBoardLogger(tmp_path)
    cycles = [CyclicalLR(0.01, 0.1, step_size, optimizer=i) for i, step_size in enumerate((4, 5))]
    fit(ManualWithTwoOptimizers(), *cycles, logger=board)
    images = EventAccumulator(board.log_dir).Reload()
    assert images.Tags()["images"] == [f"cyclical_lr/{name}/loss_vs_phase" for name in ("SGD", "Adam")]
    assert all(len(images.Images(tag)) == 1 for tag in images.Tags()["images"])


def test_losses_by_phase_are_means_over_the_micro_batches(tmp_path: Path) -> None:
    cycle, model = CyclicalLR(0.01, 0.1, 2), RecordingClassifier()
    fit(model, cycle, logger=TensorBoardLogger(tmp_path), accumulate_grad_batches=4, max_epochs=1)
    losses = [point[2] for point in cycle.state_dict()["losses"]]
    assert losses == pytest.approx([sum(model.losses[i : i + 4]) / 4 for i in range(0, 20, 4)])


def test_long_cycles_keep_25_points(tmp_path: Path) -> None:
    cycle = CyclicalLR(0.01, 0.1, 256)
    fit(RecordingClassifier(), cycle, logger=TensorBoardLogger(tmp_path), max_epochs=13)
    phases = [point[1] for point in cycle.state_dict()["losses"]]
    assert phases == pytest.approx([math.ceil(512 * i / 25) / 512 for i in range(13)])


class Scheduled(RecordingClassifier):
    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 3)]


@pytest.mark.parametrize(
    ("model", "more", "rival"),
    [
        (Scheduled(), [], "StepLR"),
        (RecordingClassifier(), [StochasticWeightAveraging(0.1)], "StochasticWeightAveraging"),
    ],
)
def test_one_owner_of_the_learning_rate(model: Any, more: list[Callback], rival: str) -> None:
    with pytest.raises(MisconfigurationException, match=f"CyclicalLR and {rival} would both set the learning rate"):
        fit(model, CyclicalLR(0.01, 0.1, 5), *more)


@pytest.mark.parametrize("tests", [[], [LRRangeTest(num_steps=20, apply=False)], [LRRangeTest(at_epochs=[1])]])
def test_bounds_that_nobody_sets(tests: list[Callback]) -> None:
    with pytest.raises(MisconfigurationException, match="CyclicalLR has no bounds: give base_lr and max_lr, or add"):
        fit(RecordingClassifier(), CyclicalLR(), *tests)


def test_wrong_number_of_bounds() -> None:
    with pytest.raises(ValueError, match=r"max_lr must be one number or one for each of the 1 .* got 3"):
        fit(RecordingClassifier(), CyclicalLR(0.01, [0.1, 0.2, 0.3], 5))


@pytest.mark.filterwarnings("ignore:Your `IterableDataset`")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"step_size": "2ep"}, "step_size=2ep needs the length of an epoch"), ({"decay": 0.1}, "decay=0.1 needs")],
)
def test_unknown_lengths(arguments: dict[str, Any], message: str) -> None:
    class Endless(torch.utils.data.IterableDataset[Any]):
        def __iter__(self) -> Any:
            return iter(loader().dataset)

    mode: Any = "exp_range" if "decay" in arguments else "triangular"
    cycle = CyclicalLR(0.01, 0.1, **{"step_size": 5, **arguments}, mode=mode)
    with pytest.raises((MisconfigurationException, ValueError), match=message):
        fit(RecordingClassifier(), cycle, data=torch.utils.data.DataLoader(Endless(), 8))


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "one bound": ({"base_lr": 0.1}, "base_lr and max_lr must both be given"),
    "upside down": ({"base_lr": 0.1, "max_lr": 0.01}, "base_lr must not be above max_lr"),
    "negative": ({"base_lr": -0.1, "max_lr": 0.01}, "base_lr must be finite and at least 0"),
    "not finite": ({"base_lr": 0.1, "max_lr": float("inf")}, "max_lr must be finite"),
    "lengths": ({"base_lr": [0.1, 0.1], "max_lr": [0.2, 0.2, 0.2]}, "must be given for the same groups"),
    "empty": ({"base_lr": [], "max_lr": 0.2}, "base_lr must be a number, or one for each group"),
    "step_size 0": ({"step_size": 0}, "step_size must be"),
    "step_size 2epp": ({"step_size": "2epp"}, "step_size must be"),
    "step_size_down": ({"step_size_down": "x"}, "step_size_down must be"),
    "mode": ({"mode": "zigzag"}, "mode must be one of triangular, triangular2, exp_range, got 'zigzag'"),
    "gamma missing": ({"mode": "exp_range"}, "mode='exp_range' needs one of gamma and decay, got gamma=None"),
    "gamma and decay": ({"mode": "exp_range", "gamma": 0.9, "decay": 0.1}, "exp_range' needs one of gamma and decay"),
    "gamma elsewhere": ({"gamma": 0.9}, "gamma is for exp_range and triangular2, got gamma=0.9 with mode='triangular'"),
    "decay elsewhere": ({"decay": 0.1}, "decay is for exp_range, got decay=0.1 with mode='triangular'"),
    "gamma above 1": ({"mode": "exp_range", "gamma": 1.1}, "gamma must be above 0 and at most 1, got 1.1"),
    "other names": ({"base_lr": {"a": 0.1}, "max_lr": {"b": 0.2}}, "must be given for the same groups"),
    "triangular2 with decay": ({"mode": "triangular2", "decay": 0.1}, "decay is for exp_range"),
    "wave": ({"wave": "square"}, "wave must be one of triangle, cosine, got 'square'"),
    "scale_mode": ({"scale_fn": math.sqrt, "scale_mode": "epoch"}, "scale_mode must be one of cycle, iterations"),
    "scale_fn and mode": ({"scale_fn": math.sqrt, "mode": "triangular2"}, "scale_fn takes the place of mode"),
    "no function": ({"scale_fn": "math.square"}, "scale_fn must be the dotted path of a function, got 'math.square'"),
    "a number": ({"scale_fn": "math.pi"}, "scale_fn must be the dotted path of a function, got 'math.pi', which is"),
    "lambda": ({"scale_fn": lambda x: x}, "scale_fn must be a function that can be imported"),
    "cycle_mult of 0": ({"cycle_mult": 0}, "cycle_mult must be above 0 and at most 1000, got 0"),
    "shrinking without end": ({"cycle_mult": 0.5}, "give num_cycles too"),
    "num_cycles": ({"num_cycles": 0}, "num_cycles must be a whole number of at least 1, got 0"),
    "half a cycle": ({"num_cycles": 2.5}, "num_cycles must be a whole number of at least 1, got 2.5"),
    "num_cycles as text": ({"num_cycles": "3"}, "num_cycles must be a whole number of at least 1, got '3'"),
    "num_cycles true": ({"num_cycles": True}, "num_cycles must be a whole number of at least 1, got True"),
    "num_cycles nan": ({"num_cycles": math.nan}, "num_cycles must be a whole number of at least 1, got nan"),
    "cycle_mult as text": ({"cycle_mult": "2x"}, "cycle_mult must be a number, got '2x'"),
    "gamma as text": ({"mode": "exp_range", "gamma": "half"}, "gamma must be a number, got 'half'"),
    "decay as text": ({"mode": "exp_range", "decay": "x"}, "decay must be a number, got 'x'"),
    "fit_cycles as text": ({"fit_cycles": "no"}, "fit_cycles must be true or false, got 'no'"),
    "snapshot_cycles as text": ({"snapshot_cycles": "no"}, "snapshot_cycles must be true or false, got 'no'"),
    "a bound as text": ({"base_lr": "1e-3", "max_lr": 0.1}, "base_lr must be a number, .* got '1e-3'"),
    "a list of texts": ({"base_lr": 0.1, "max_lr": ["x"]}, r"max_lr must be a number, .* got \['x'\]"),
    "true": ({"base_lr": 0.1, "max_lr": True}, "max_lr must be a number, .* got True"),
    "one momentum": ({"momentum": 0.9}, "momentum must be two numbers of at least 0, .* got 0.9"),
    "momentum as text": ({"momentum": ("a", "b")}, "momentum must be two numbers"),
    "optimizer as text": ({"optimizer": "0"}, "optimizer must be a whole number of at least 0, got '0'"),
    "warmup": ({"warmup": "x"}, "warmup must be"),
    "momentum upside down": ({"momentum": (0.95, 0.85)}, "momentum must be two numbers"),
    "momentum of 1": ({"momentum": (0.85, 1.0)}, "momentum must be two numbers of at least 0"),
    "weight_decay": ({"weight_decay": (0.1,)}, "weight_decay must be two numbers"),
    "optimizer": ({"optimizer": -1}, "optimizer must be a whole number of at least 0, got -1"),
    "decay of 0": ({"mode": "exp_range", "decay": 0.0}, "decay must be above 0"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments(case: str) -> None:
    arguments, message = BAD[case]
    with pytest.raises(ValueError, match=message) as error:
        CyclicalLR(**arguments)
    assert "\n" not in str(error.value)
