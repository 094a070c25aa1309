"""`HypergradientLR` with a real Trainer: what it reaches, and what it lives through."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch.callbacks as callbacks
import pytest
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import BackboneFinetuning, LearningRateMonitor, StochasticWeightAveraging
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.plugins import MixedPrecision
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from lightning_lr import CyclicalLR, HypergradientLR, LRRangeTest
from tests.helpers.accelerator import DEVICE
from tests.helpers.adapting import RULES, Breaks, mean_loss, plain, unit
from tests.helpers.recorded import Recorded, first, fit
from tests.helpers.tiny_models import Classifier, loader

pytestmark = [
    pytest.mark.filterwarnings("ignore:Attribute 'factor' removed from hparams"),
    pytest.mark.filterwarnings("ignore:The dirpath has changed"),
    pytest.mark.filterwarnings("ignore:.training_step. returned .None."),
]


@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad"])
@pytest.mark.parametrize("lr", [1e-7, 10.0])
def test_learns_from_any_start(optimizer: str, lr: float) -> None:
    torch.manual_seed(0)
    model = Recorded(lr=lr, optimizer=optimizer)
    fit(model, HypergradientLR(), data=loader(100), max_epochs=2)
    assert mean_loss(model) < 0.5 * model.losses[0]
    assert 1e-4 < first(model)[-1] < 3


def test_the_first_step_is_short_whatever_the_rate() -> None:
    class FirstStep(Callback):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            self.before = torch.cat([p.detach().flatten() for p in pl_module.parameters()])

        def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
            if trainer.global_step == 1:
                after = torch.cat([p.detach().flatten() for p in pl_module.parameters()])
                self.share = ((after - self.before).norm() / self.before.norm()).item()
                self.lr = trainer.optimizers[0].param_groups[0]["lr"]

    steps = {}
    for lr in (1e-6, 1.0, 1e4):
        torch.manual_seed(0)
        steps[lr] = FirstStep()
        fit(Classifier(lr=lr), HypergradientLR(), steps[lr], max_steps=1)
    assert steps[1.0].share == pytest.approx(1e-3, rel=1e-3)
    assert steps[1e4].share == pytest.approx(1e-3, rel=1e-3)
    assert steps[1.0].lr == pytest.approx(steps[1e4].lr, rel=1e-3)
    assert steps[1e-6].share < 1e-4
    assert steps[1e-6].lr == 1e-6


@pytest.mark.parametrize("rule", RULES)
def test_every_step_uses_scale_times_schedule(rule: str) -> None:
    """On top of our cycles, in both orders, and of a scheduler that reads the group's value back."""

    class Chained(Recorded):
        def configure_optimizers(self) -> Any:
            optimizer = super().configure_optimizers()
            scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 50)
            return [optimizer], [{"scheduler": scheduler, "interval": "step"}]

    class Scales(Callback):
        def __init__(self, callback: HypergradientLR) -> None:
            self.callback, self.scales = callback, [1.0]

        def on_train_batch_end(self, *_: Any) -> None:
            self.scales.append(unit(self.callback)["rule"]["scale"])

    cycle = CyclicalLR(0.001, 0.01, 5)
    cosine = [0.01 * (1 + math.cos(math.pi * t / 50)) / 2 for t in range(40)]
    for model_class, before, after, schedule in (
        (Recorded, [CyclicalLR(0.001, 0.01, 5)], [], cycle.preview(40).lr.tolist()),
        (Recorded, [], [CyclicalLR(0.001, 0.01, 5)], cycle.preview(40).lr.tolist()),
        (Chained, [], [], cosine),
    ):
        torch.manual_seed(0)
        model = model_class(lr=0.01)
        adapts = RULES[rule]()
        scales = Scales(adapts)
        fit(model, *before, adapts, *after, scales)
        assert len(set(scales.scales)) > 20
        expected = [scale * lr for scale, lr in zip(scales.scales, schedule, strict=False)]
        assert first(model) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("monitor_first", [True, False])
def test_what_is_logged_is_what_was_used(monitor_first: bool, tmp_path: Path) -> None:
    monitor, model, adapts = LearningRateMonitor("step"), Recorded(), HypergradientLR()
    order: list[Callback] = [monitor, adapts] if monitor_first else [adapts, monitor]
    loggers: Any = [CSVLogger(tmp_path), TensorBoardLogger(tmp_path)]
    fit(model, *order, CyclicalLR(0.001, 0.01, 5), logger=loggers, log_every_n_steps=1)
    assert monitor.lrs["lr-SGD"] == first(model)
    events = EventAccumulator(loggers[1].log_dir).Reload()
    assert [e.value for e in events.Scalars("lr/SGD")] == pytest.approx(first(model), rel=1e-6)
    alignment, scale, turns = (
        [event.value for event in events.Scalars(f"hypergradient/{key}/SGD")] for key in ("alignment", "scale", "turns")
    )
    assert any(alignment)
    assert all(-1 <= each <= 1 for each in alignment)
    assert scale[-1] == pytest.approx(unit(adapts)["rule"]["scale"])
    assert turns[-1] == unit(adapts)["rule"]["turns"]


# --- what hurts


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_overflow_in_mixed_precision_changes_nothing(rule: str, fused: bool) -> None:
    class Fused(Breaks):
        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), 0.01, momentum=0.9, fused=fused)
            optimizer.register_step_pre_hook(lambda opt, *_: self.record(opt))
            return optimizer

    torch.manual_seed(0)
    model = Fused(lambda step: math.inf if step % 5 == 3 else 1.0)
    scaler = torch.amp.GradScaler(DEVICE, init_scale=1024.0)
    adapts = RULES[rule](every=1)
    fit(model, adapts, data=loader(60), plugins=[MixedPrecision("16-mixed", DEVICE, scaler=scaler)])
    progress = adapts.state_dict()["progress"][0]
    assert progress["adaptation"]["unknown"] >= 20
    assert progress["watch"]["returns"] == 0
    assert mean_loss(model) < 0.7 * model.losses[0]


def test_fused_gradients_are_unscaled_for_the_additive_rule() -> None:
    """Its rates are those of the run without scaling, to half precision's error."""

    class Fused(Recorded):
        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), 0.01, fused=True)
            optimizer.register_step_pre_hook(lambda opt, *_: self.record(opt))
            return optimizer

    rates = []
    for scale in (1.0, 1024.0):
        torch.manual_seed(0)
        model = Fused()
        scaler = torch.amp.GradScaler(DEVICE, init_scale=scale, growth_interval=1000)
        fit(model, RULES["additive"](), plugins=[MixedPrecision("16-mixed", DEVICE, scaler=scaler)])
        rates.append(first(model))
    assert rates[0][-1] > 1.05 * rates[0][0]
    assert rates[0] == pytest.approx(rates[1], rel=0.01)


def test_accumulation_and_none_from_the_training_step() -> None:
    class Sometimes(Recorded):
        def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Any:
            loss = super().training_step(batch, batch_idx)
            return None if batch_idx % 7 == 3 else loss

    for kwargs, steps in (({"accumulate_grad_batches": 3}, 14), ({}, 40)):
        model = (Recorded if kwargs else Sometimes)(lr=1e-5)
        adapts = HypergradientLR()
        trainer = fit(model, adapts, gradient_clip_val=0.5, **kwargs)
        assert trainer.global_step == len(model.used) == steps
        assert unit(adapts)["rule"]["scale"] > 2


def test_frozen_and_unused_parameters_and_empty_groups() -> None:
    class Partly(Recorded):
        def configure_optimizers(self) -> Any:
            self.unused = torch.nn.Linear(3, 3)
            self.backbone.requires_grad_(False)
            groups: list[dict[str, Any]] = [
                {"params": self.backbone.parameters()},
                {"params": [*self.head.parameters(), *self.unused.parameters()]},
                {"params": []},
            ]
            optimizer = torch.optim.Adam(groups, 1e-5)
            optimizer.register_step_pre_hook(lambda opt, *_: self.record(opt))
            return optimizer

    for per_group in (False, True):
        model = Partly()
        fit(model, HypergradientLR(per_group=per_group))
        frozen, trained, empty = model.used[-1]
        assert trained > 1e-4
        assert (frozen, empty) == ((1e-5, 1e-5) if per_group else (trained, trained))


def test_groups_keep_their_ratio_or_have_a_scale_each() -> None:
    ratio, each = Recorded(backbone_ratio=0.1), Recorded(backbone_ratio=0.1)
    fit(ratio, HypergradientLR())
    fit(each, HypergradientLR(per_group=True))
    assert all(used[0] == pytest.approx(0.1 * used[1]) for used in ratio.used)
    assert each.used[-1][0] != pytest.approx(0.1 * each.used[-1][1], rel=1e-3)


class Manual(Classifier):
    """The first optimizer steps twice a batch, the second every other batch."""

    def __init__(self, raw: bool = False) -> None:
        super().__init__()
        self.automatic_optimization, self.raw = False, raw
        self.used: tuple[list[float], list[float]] = ([], [])

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Any:
        optimizers: Any = self.optimizers(use_pl_optimizer=not self.raw)
        for i, times in ((0, 2), (1, batch_idx % 2)):
            for _ in range(times):
                loss = super().training_step(batch, batch_idx)
                optimizers[i].zero_grad()
                self.manual_backward(loss)
                optimizers[i].step()

    def configure_optimizers(self) -> Any:
        pair = torch.optim.SGD(self.backbone.parameters(), 1e-5), torch.optim.Adam(self.head.parameters(), 1e-5)
        for i, optimizer in enumerate(pair):
            optimizer.register_step_post_hook(lambda opt, *_, i=i: self.used[i].append(opt.param_groups[0]["lr"]))
        return pair


@pytest.mark.parametrize("rule", ["long_horizon", "multiplicative"])
def test_several_optimizers_in_manual_optimization(rule: str) -> None:
    model, adapts = Manual(), RULES[rule]()
    fit(model, adapts, CyclicalLR(1e-5, 1e-4, 5))
    assert [len(used) for used in model.used] == [80, 20]
    cycles = [CyclicalLR(1e-5, 1e-4, 5).preview(n).lr.tolist() for n in (80, 20)]
    for used, cycle, progress in zip(model.used, cycles, adapts.state_dict()["progress"], strict=True):
        scales = [lr / own for lr, own in zip(used, cycle, strict=True)]
        assert scales[0] == 1
        assert len({round(scale, 9) for scale in scales}) > 5
        # what was measured last comes into effect after the last step
        assert abs(math.log(progress["adaptation"]["units"][0]["rule"]["scale"] / scales[-1])) < 1


def test_optimizers_behind_lightnings_back_are_an_error() -> None:
    with pytest.raises(RuntimeError, match=r"self.optimizers\(\)"):
        fit(Manual(raw=True), HypergradientLR())


def test_tensor_rates_stay_the_same_tensor() -> None:
    class TensorRate(Recorded):
        def configure_optimizers(self) -> Any:
            optimizer = super().configure_optimizers()
            self.rate = optimizer.param_groups[0]["lr"] = torch.tensor(1e-5)
            return optimizer

    for rule in RULES:
        torch.manual_seed(0)
        model, plain = TensorRate(optimizer="Adam"), None
        trainer = fit(model, RULES[rule](), CyclicalLR(1e-5, 1e-4, 5))
        assert trainer.optimizers[0].param_groups[0]["lr"] is model.rate
        torch.manual_seed(0)
        plain = Recorded(optimizer="Adam", lr=1e-5)
        fit(plain, RULES[rule](), CyclicalLR(1e-5, 1e-4, 5))
        assert first(model) == pytest.approx(first(plain), rel=1e-3)


def test_sparse_gradients() -> None:
    class Words(Recorded):
        def __init__(self) -> None:
            super().__init__(momentum=0.0, lr=1e-4)
            self.words = torch.nn.Embedding(50, 6, sparse=True)

        def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
            x, y = batch
            return super().training_step((x + self.words(torch.arange(len(x), device=x.device) % 7), y), batch_idx)

    for rule in RULES:
        model = Words()
        fit(model, RULES[rule]())
        assert first(model)[-1] != first(model)[0]


# --- beside other callbacks


@pytest.mark.parametrize("adapts_first", [True, False])
def test_backbone_finetuning(adapts_first: bool) -> None:
    class Head(Recorded):
        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.head.parameters(), 1e-4, momentum=0.9)
            optimizer.register_step_pre_hook(lambda opt, *_: self.record(opt))
            return optimizer

    model, adapts = Head(), HypergradientLR()
    unfreeze = BackboneFinetuning(unfreeze_backbone_at_epoch=1, backbone_initial_ratio_lr=0.1, should_align=False)
    fit(model, *((adapts, unfreeze) if adapts_first else (unfreeze, adapts)), max_epochs=3)
    before, after, later = model.used[19], model.used[20], model.used[40]
    assert len(before) == 1
    assert before[0] > 2e-4
    assert after[1] == pytest.approx(0.1 * after[0])
    # it multiplies the rate of the backbone by its lambda at every epoch: 2 by default
    assert later[1] == pytest.approx(2 * after[1], rel=1e-6) or later[1] / later[0] > 0.1
    assert all(rates[1] < 1 for rates in model.used[20:])


@pytest.mark.parametrize("adapts_first", [True, False])
def test_range_test_before_it(adapts_first: bool) -> None:
    model, adapts = Recorded(), HypergradientLR()
    test = LRRangeTest(num_steps=20, at_epochs=(0, 1), if_unsure="warn")
    with pytest.warns(UserWarning, match="not confident"):
        fit(model, *((adapts, test) if adapts_first else (test, adapts)), max_epochs=3)
    assert test.result is not None
    # what a step used, behind the one epoch between the sweeps, whose steps are lost with all else of a sweep
    assert model.used[20][0] == pytest.approx(test.result.lr, rel=1e-12)
    assert model.used[25][0] != model.used[20][0]


@pytest.mark.parametrize("adapts_first", [True, False])
def test_range_test_at_the_start_sets_the_rate_to_begin_with(adapts_first: bool) -> None:
    """Which is good, so that the first step is not made short."""
    model, adapts, test = Recorded(), HypergradientLR(), LRRangeTest(num_steps=40, if_unsure="warn")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit(model, *((adapts, test) if adapts_first else (test, adapts)))
    assert test.result is not None
    assert model.used[0][0] == model.used[1][0] == pytest.approx(test.result.lr, rel=1e-12)
    assert model.used[-1][0] != model.used[0][0]


@pytest.mark.skipif(not hasattr(callbacks, "WeightAveraging"), reason="Lightning 2.6 brought it")
@pytest.mark.skipif(DEVICE == "cuda", reason="torch cannot average BatchNorm's counter there")
def test_weight_averaging() -> None:
    models = [plain(), plain()]
    for model, more in zip(models, ([callbacks.WeightAveraging()], []), strict=True):
        fit(model, *more, HypergradientLR())
    assert models[0].used == models[1].used


@pytest.mark.parametrize("adapts_first", [True, False])
def test_stochastic_weight_averaging(adapts_first: bool) -> None:
    """Its scheduler, which comes later and is made from what the groups hold then, anneals the own values."""

    class Own(Callback):
        def __init__(self, adapts: HypergradientLR | None) -> None:
            self.adapts, self.values = adapts, [0.01]

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            group = trainer.optimizers[0].param_groups[0]
            scale = 1.0 if self.adapts is None else unit(self.adapts)["rule"]["scale"]
            self.values.append(group["lr"] / scale)

    values = []
    for adapts in (None, HypergradientLR()):
        own = Own(adapts)
        average = StochasticWeightAveraging(0.02, swa_epoch_start=1, annealing_epochs=4)
        others: list[Callback] = [] if adapts is None else [adapts]
        fit(Recorded(), *([*others, average] if adapts_first else [average, *others]), own, max_epochs=6)
        values.append(own.values)
    assert 0.01 < values[0][2] < values[0][3] < 0.02
    assert values[1] == pytest.approx(values[0], rel=1e-6)


def test_a_scheduler_of_ones_own_is_warned_of() -> None:
    class Hidden(Recorded):
        def configure_optimizers(self) -> Any:
            optimizer = super().configure_optimizers()
            self.scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
            return optimizer

    with pytest.warns(UserWarning, match="SGD has a scheduler that configure_optimizers does not return"):
        fit(Hidden(), HypergradientLR())


def test_range_test_beside_bounds_of_ones_own_leaves_the_scale() -> None:
    """The test sets nothing there, so that what was learned holds."""
    rates = []
    for tests in ([], [LRRangeTest(num_steps=20, at_epochs=(1,), if_unsure="warn")]):
        torch.manual_seed(0)
        model = Recorded()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit(model, HypergradientLR(), CyclicalLR(1e-5, 1e-4, 5), *tests, max_epochs=3)
        rates.append(first(model))
    assert rates[0] == rates[1]
    assert rates[0][-1] > 2 * rates[0][0]


@pytest.mark.parametrize("as_tensor", [False, True], ids=["float", "tensor"])
def test_range_test_that_sets_nothing_leaves_no_trace(as_tensor: bool) -> None:
    class Rates(Recorded):
        def configure_optimizers(self) -> Any:
            optimizer = super().configure_optimizers()
            if as_tensor:
                optimizer.param_groups[0]["lr"] = torch.tensor(1e-3, dtype=torch.float64)
            return optimizer

    models = []
    for tests in ([], [LRRangeTest(num_steps=40, apply=False, at_epochs=(2,), if_unsure="warn")]):
        torch.manual_seed(0)
        models.append(Rates(lr=1e-3))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit(models[-1], *tests, HypergradientLR(horizon=20), max_epochs=4)
    assert models[0].used == models[1].used
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(one, other)


def test_says_how_the_rate_is(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    for lr, word in ((1e-6, "too low"), (3.0, "too high")):
        model, watches = Recorded(lr=lr, momentum=0.0), HypergradientLR(adapt=False)
        caplog.clear()
        with caplog.at_level("INFO", logger="lightning.pytorch"):
            fit(model, watches, logger=TensorBoardLogger(tmp_path / word), data=loader(100), max_epochs=1)
        assert f"the learning rate of SGD was {word} in this epoch" in caplog.text
        assert "has come to" not in caplog.text
        assert set(first(model)) == {lr}


def test_says_when_no_gradient_is_finite(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="lightning.pytorch"):
        fit(Breaks(lambda _: math.nan), HypergradientLR(adapt=False), max_epochs=1)
    assert "no gradient of SGD was finite in this epoch" in caplog.text


def test_says_where_the_rate_has_come_to(caplog: pytest.LogCaptureFixture) -> None:
    """That of the last step, not of one that will not come."""

    class Ends(Recorded):
        def configure_optimizers(self) -> Any:
            optimizer = super().configure_optimizers()
            scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40)
            return [optimizer], [{"scheduler": scheduler, "interval": "step"}]

    model = Ends()
    with caplog.at_level("INFO", logger="lightning.pytorch"):
        fit(model, HypergradientLR())
    assert f"the learning rate has come to {first(model)[-1]:.3g} for SGD (scale " in caplog.text


# --- errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rule": "greedy"}, "rule must be one of long_horizon, multiplicative, additive, got 'greedy'"),
        ({"beta": 0.1}, "takes horizon, the other rules take beta"),
        ({"rule": "additive", "horizon": 5, "beta": 0.1}, "takes horizon, the other rules take beta"),
        ({"rule": "additive"}, "rule='additive' needs beta"),
        ({"rule": "additive", "beta": -1.0}, "beta must be a number above 0 and finite, got -1.0"),
        ({"rule": "multiplicative", "beta": 1.0}, "beta must be a number above 0 and below 1, got 1.0"),
        ({"rule": "additive", "beta": "0.1"}, "beta must be a number above 0 and finite, got '0.1'"),
        ({"every": 0}, "every must be 'auto' or a number of steps of at least 1, got 0"),
        ({"every": "often"}, "every must be 'auto' or a number of steps of at least 1, got 'often'"),
        ({"adapt": "no"}, "adapt must be true or false, got 'no'"),
        ({"horizon": "3 weeks"}, "horizon must be a number of steps above 0"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HypergradientLR(**arguments)


def test_lbfgs_is_refused() -> None:
    class Searches(Classifier):
        def configure_optimizers(self) -> Any:
            return torch.optim.LBFGS(self.parameters())

    with pytest.raises(MisconfigurationException, match="cannot adapt LBFGS"):
        fit(Searches(), HypergradientLR())
