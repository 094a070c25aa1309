"""A schedule that goes above its base peaks at the learning rate that was found, or a warning says how far it goes."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler as schedulers

from lightning_lr import LRRangeTest
from lightning_lr.optimizers.scheduler_peaks import Peak, peaks
from lightning_lr.optimizers.torch_schedulers import ScheduledBase, set_scheduler_lrs
from tests.helpers.lightning_classes import LightningModule, Trainer
from tests.helpers.recorded_steps import RecordingClassifier, fit
from tests.helpers.tiny_models import loader

LRS: dict[str, Any] = {"lr": 0.3, "base_lr": 0.15, "max_lr": 0.6, "decay_lr": 0.6, "one_cycle_max_lr": 0.9}
WARMUP, STEPS = 8, 40  # of the tiny runs below


def noam_like(step: int) -> float:
    """As chemprop's: from the base to 10 times the base, then down, here to twice the base only."""
    return 1 + 9 * step / WARMUP if step <= WARMUP else float(10 * 0.2 ** ((step - WARMUP) / (STEPS - WARMUP)))


def near(value: float) -> Any:
    return pytest.approx(value)


def optimizer_of(lr: float = 0.01) -> torch.optim.Optimizer:
    groups = [{"params": [torch.nn.Parameter(torch.ones(1))], "lr": lr * ratio} for ratio in (0.1, 1.0)]
    return torch.optim.SGD(groups)


def trace(optimizer: torch.optim.Optimizer, scheduler: Any, steps: int = STEPS) -> list[float]:
    """The learning rate of the second group, before each step."""
    lrs = []
    for _ in range(steps):
        lrs.append(float(optimizer.param_groups[1]["lr"]))
        optimizer.step()
        scheduler.step()
    return lrs


RISING: dict[str, Callable[[torch.optim.Optimizer], Any]] = {
    "LambdaLR": lambda o: schedulers.LambdaLR(o, noam_like),
    "a function for each group": lambda o: schedulers.LambdaLR(o, [lambda _: 1.0, noam_like]),
    "SequentialLR, last": lambda o: schedulers.SequentialLR(
        o, [schedulers.ConstantLR(o, 0.5, 5), schedulers.LambdaLR(o, noam_like)], [5]
    ),
    "SequentialLR, first": lambda o: schedulers.SequentialLR(
        o, [schedulers.LambdaLR(o, noam_like), schedulers.ExponentialLR(o, 0.9)], [20]
    ),
    "ChainedScheduler": lambda o: schedulers.ChainedScheduler(
        [schedulers.ExponentialLR(o, 0.9), schedulers.LambdaLR(o, noam_like)], o
    ),
}


@pytest.mark.parametrize("steps_before", [0, 3])
@pytest.mark.parametrize("name", RISING)
def test_peaks_at_the_learning_rate(name: str, steps_before: int) -> None:
    optimizer = optimizer_of()
    scheduler = RISING[name](optimizer)
    before = trace(optimizer, scheduler, steps_before)
    assert set_scheduler_lrs(scheduler, [0.1, 1.0], **LRS, num_steps=STEPS) == ScheduledBase(near(0.03), None)
    expected_optimizer = optimizer_of(0.03)
    expected = trace(expected_optimizer, RISING[name](expected_optimizer))
    after = trace(optimizer, scheduler, STEPS - steps_before)
    assert max(expected) == pytest.approx(0.3)
    assert after == pytest.approx(expected[steps_before:])
    assert before == pytest.approx([lr / 3 for lr in expected[:steps_before]])


@pytest.mark.parametrize("name", RISING)
def test_a_peak_that_has_passed_does_not_count(name: str) -> None:
    """After a change within the run, the rest of the run goes up to the new learning rate, and not only to a part."""
    optimizer = optimizer_of()
    scheduler = RISING[name](optimizer)
    trace(optimizer, scheduler, 15)
    set_scheduler_lrs(scheduler, [0.1, 1.0], **LRS, num_steps=STEPS)
    assert max(trace(optimizer, scheduler, STEPS - 15)) == pytest.approx(0.3)


def test_an_object_that_counts_its_calls_is_not_changed() -> None:
    class Counts:
        def __init__(self) -> None:
            self.calls = 0

        def __call__(self, step: int) -> float:
            self.calls += 1
            return 1.0 + step

    optimizer, counts = optimizer_of(), Counts()
    scheduler = schedulers.LambdaLR(optimizer, counts)
    calls = counts.calls
    set_scheduler_lrs(scheduler, [0.1, 1.0], **LRS, num_steps=STEPS)
    assert counts.calls == calls


@pytest.mark.parametrize("method", [lambda module: module.warmup, lambda module: partial(module.warmup)])
def test_a_method_that_needs_the_trainer(method: Callable[[Any], Any]) -> None:
    """A deep copy of the module would have no Trainer."""

    class Module(LightningModule):
        def warmup(self, step: int) -> float:
            return 1 + 9 * step / self.trainer.max_epochs  # type: ignore[operator]

    module = Module()
    module.trainer = Trainer(max_epochs=STEPS, accelerator="cpu", logger=False, enable_checkpointing=False)
    scheduler = schedulers.LambdaLR(optimizer_of(), method(module))
    assert peaks(scheduler, STEPS) == [Peak("LambdaLR", 10.0, STEPS, can_be_set=True)]


def test_groups_keep_their_ratio() -> None:
    optimizer = optimizer_of()
    scheduler = schedulers.LambdaLR(optimizer, [lambda _: 1.0, noam_like])
    set_scheduler_lrs(scheduler, [0.1, 1.0], **LRS, num_steps=STEPS)
    assert [group["initial_lr"] for group in optimizer.param_groups] == pytest.approx([0.003, 0.03])


def test_a_run_that_ends_in_the_warm_up() -> None:
    scheduler = schedulers.LambdaLR(optimizer_of(), noam_like)
    assert peaks(scheduler, WARMUP // 2) == [Peak("LambdaLR", 5.5, WARMUP // 2, can_be_set=True)]


def test_a_part_that_the_run_does_not_reach() -> None:
    optimizer = optimizer_of()
    parts = [schedulers.ConstantLR(optimizer, 0.5, 5), schedulers.LambdaLR(optimizer, noam_like)]
    scheduler = schedulers.SequentialLR(optimizer, parts, [30])
    assert [peak.factor for peak in peaks(scheduler, 20)] == [1.0]


def test_a_long_run_is_sampled() -> None:
    calls: list[int] = []

    def warmup(step: int) -> float:
        calls.append(step)
        return min(10.0, 1 + 9 * step / 10_000)  # over 1 % of the run

    scheduler = schedulers.LambdaLR(optimizer_of(), warmup)
    calls.clear()
    (peak,) = peaks(scheduler, 1_000_000)
    assert peak.factor == pytest.approx(10.0, rel=0.01)
    assert len(calls) <= 10_001
    assert calls[-1] == 1_000_000


class OwnWarmUp(schedulers.LRScheduler):
    """A class that is not torch's: from the base to 10 times the base."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.history: list[int] = []
        super().__init__(optimizer)

    def get_lr(self) -> list[Any]:
        self.history.append(self.last_epoch)
        return [base * noam_like(self.last_epoch) for base in self.base_lrs]


class OwnLimit(OwnWarmUp):
    """Its limit does not follow the base."""

    def get_lr(self) -> list[Any]:
        limits = zip(self.base_lrs, [0.12, 1.2], strict=True)
        return [base + (limit - base) * self.last_epoch / STEPS for base, limit in limits]


class OwnFactor(OwnWarmUp):
    """Multiplies the learning rate of the groups, as most of torch's classes do."""

    def get_lr(self) -> list[Any]:
        return [group["lr"] * (2.0 if 0 < self.last_epoch < 4 else 1.0) for group in self.optimizer.param_groups]


class OwnDecay(OwnWarmUp):
    def get_lr(self) -> list[Any]:
        return [base * 0.9**self.last_epoch for base in self.base_lrs]


class OwnConstant(OwnWarmUp):
    """With an error of rounding."""

    def get_lr(self) -> list[Any]:
        return [base * (1 + 1e-15) for base in self.base_lrs]


class OwnOneCycle(schedulers.OneCycleLR):
    """Its peak is set, so it is not too high."""


@pytest.mark.parametrize(("kind", "factor"), [(OwnWarmUp, 10.0), (OwnLimit, 4.0), (OwnFactor, 8.0)])
def test_a_class_of_the_user_is_tried(kind: type[OwnWarmUp], factor: float) -> None:
    optimizer = optimizer_of()
    scheduler = kind(optimizer)
    state = copy.deepcopy(scheduler.state_dict())
    base = set_scheduler_lrs(scheduler, [0.1, 1.0], **LRS, num_steps=STEPS)
    assert base == ScheduledBase(0.3, Peak(kind.__name__, near(factor), STEPS, can_be_set=False))
    changed = {name for name, value in scheduler.state_dict().items() if value != state[name]}
    assert changed == {"base_lrs", "_last_lr"}
    assert max(trace(optimizer, scheduler, STEPS + 1)) == pytest.approx(0.3 * factor)


@pytest.mark.parametrize("build", [OwnDecay, OwnConstant, lambda o: OwnOneCycle(o, 0.5, STEPS + 1)])
def test_a_class_of_the_user_that_stays_below(build: Callable[[torch.optim.Optimizer], Any]) -> None:
    base = set_scheduler_lrs(build(optimizer_of()), [0.1, 1.0], **LRS, num_steps=STEPS)
    assert base == ScheduledBase(0.3, None)


def test_the_peak_of_a_class_of_the_user_has_passed() -> None:
    optimizer = optimizer_of()
    scheduler = OwnWarmUp(optimizer)
    trace(optimizer, scheduler, STEPS - 5)
    (peak,) = peaks(scheduler, STEPS)
    assert peak.factor == pytest.approx(noam_like(STEPS - 5))


# what is built -> class that is named, factor within 40 steps
NOT_LOWERED: dict[str, tuple[Callable[[torch.optim.Optimizer], Any], float]] = {
    "ExponentialLR": (lambda o: schedulers.ExponentialLR(o, 1.05), 1.05**STEPS),
    "StepLR": (lambda o: schedulers.StepLR(o, 10, 2.0), 16.0),
    "MultiStepLR": (lambda o: schedulers.MultiStepLR(o, [5, 5, 20, 90], 2.0), 8.0),
    "MultiplicativeLR": (lambda o: schedulers.MultiplicativeLR(o, lambda t: 2.0 if t < 4 else 0.5), 8.0),
}


@pytest.mark.parametrize("name", NOT_LOWERED)
def test_other_classes_keep_their_base_and_are_reported(name: str) -> None:
    build, factor = NOT_LOWERED[name]
    optimizer = optimizer_of()
    scheduler = build(optimizer)
    base = set_scheduler_lrs(scheduler, [0.1, 1.0], **LRS, num_steps=STEPS)
    assert base == ScheduledBase(0.3, Peak(name, near(factor), STEPS, can_be_set=False))
    assert max([*trace(optimizer, scheduler), optimizer.param_groups[1]["lr"]]) == pytest.approx(0.3 * factor)


@pytest.mark.parametrize("name", NOT_LOWERED)
def test_nothing_is_said_of_what_cannot_be_known(name: str) -> None:
    optimizer = optimizer_of()
    assert set_scheduler_lrs(NOT_LOWERED[name][0](optimizer), [0.1, 1.0], **LRS) == ScheduledBase(0.3, None)


def test_the_length_of_the_run_is_not_known() -> None:
    scheduler = schedulers.LambdaLR(optimizer_of(), noam_like)
    base = set_scheduler_lrs(scheduler, [0.1, 1.0], **LRS)
    assert base == ScheduledBase(0.3, Peak("LambdaLR", 10.0, 10_000, can_be_set=False))


def test_a_function_that_is_not_defined_beyond_the_run() -> None:
    table = [1.0, 2.0, 3.0]
    scheduler = schedulers.LambdaLR(optimizer_of(), lambda step: table[step])
    assert set_scheduler_lrs(scheduler, [0.1, 1.0], **LRS) == ScheduledBase(0.3, None)
    assert set_scheduler_lrs(scheduler, [0.1, 1.0], **LRS, num_steps=2).lr == pytest.approx(0.1)


class Scheduled(RecordingClassifier):
    """Returns a scheduler, with entries of its configuration."""

    build: Callable[[torch.optim.Optimizer], Any]
    config: dict[str, Any]

    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self.build(optimizer), **self.config}}


def scheduled(build: Callable[[torch.optim.Optimizer], Any], **config: Any) -> Scheduled:
    torch.manual_seed(0)
    model = Scheduled()
    model.build, model.config = build, config  # not arguments, which Lightning would save as hyperparameters
    return model


@pytest.mark.filterwarnings("ignore:LRRangeTest is not confident")
@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step.*before.*optimizer.step.*")
class TestInATrainer:
    @staticmethod
    def run(model: Scheduled, **kwargs: Any) -> float:
        """Train with a range test. Returns the learning rate that was found."""
        range_test = LRRangeTest(num_steps=60, verify=False)
        fit(model, range_test, **kwargs)
        assert range_test.result is not None
        return range_test.result.lr

    @pytest.mark.parametrize(
        ("config", "kwargs"),
        [
            ({"interval": "step"}, {}),
            ({"interval": "step"}, {"max_steps": STEPS, "max_epochs": -1}),
            ({"interval": "step"}, {"accumulate_grad_batches": 2, "max_epochs": 4}),
            ({"interval": "step", "frequency": 2}, {"max_epochs": 4}),
            ({"interval": "epoch"}, {"max_epochs": 12, "limit_train_batches": 2}),
            ({"interval": "epoch"}, {"max_steps": 24, "max_epochs": -1, "limit_train_batches": 2}),
        ],
    )
    def test_a_warm_up_to_10_times_its_base_peaks_at_the_found_rate(
        self, config: dict[str, Any], kwargs: dict[str, Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        model = scheduled(lambda o: schedulers.LambdaLR(o, noam_like), **config)
        with caplog.at_level(logging.INFO), warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*times this learning rate.*")
            lr = self.run(model, **kwargs)
        used = [rates[0] for rates in model.used]
        assert max(used) == pytest.approx(lr)
        assert used[0] == pytest.approx(lr / 10)
        assert model.hparams["lr"] == pytest.approx(lr / 10)  # a module that is built with it trains in the same way
        assert f"To keep it for good: SGD(lr={lr / 10:.3g})" in caplog.text

    def test_a_run_without_a_known_length_is_warned(self) -> None:
        model = scheduled(lambda o: schedulers.LambdaLR(o, noam_like), interval="step")
        expected = r"^LRRangeTest: LambdaLR goes up to 10 times this learning rate within 10000 steps: "
        with pytest.warns(UserWarning, match=expected):
            lr = self.run(model, max_epochs=-1, max_time={"milliseconds": 300}, data=loader(4))
        assert model.used[0][0] == pytest.approx(lr)

    def test_a_number_of_scheduler_steps_that_is_not_known_is_warned(self) -> None:
        """Within windows of accumulation, a frequency counts batches."""
        model = scheduled(lambda o: schedulers.LambdaLR(o, noam_like), interval="step", frequency=2)
        with pytest.warns(UserWarning, match=r"^LRRangeTest: LambdaLR goes up to 10 times this learning rate within "):
            lr = self.run(model, accumulate_grad_batches=2, max_epochs=4)
        assert model.used[0][0] == pytest.approx(lr)

    def test_a_class_of_the_user_is_warned(self) -> None:
        model = scheduled(OwnWarmUp, interval="step")
        expected = r"^LRRangeTest: OwnWarmUp goes up to 10 times this learning rate within 40 steps: "
        with pytest.warns(UserWarning, match=expected):
            lr = self.run(model)
        assert max(model.used)[0] == pytest.approx(10 * lr)

    def test_a_growing_scheduler_is_warned(self) -> None:
        model = scheduled(lambda o: schedulers.StepLR(o, 10, 2.0), interval="step")
        expected = r"^LRRangeTest: StepLR goes up to 16 times this learning rate within 40 steps: "
        with pytest.warns(UserWarning, match=expected):
            self.run(model)

    def test_a_falling_scheduler_is_not_warned(self) -> None:
        model = scheduled(lambda o: schedulers.StepLR(o, 20, 0.5), interval="step")
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*times this learning rate.*")
            lr = self.run(model)
        assert model.hparams["lr"] == lr
