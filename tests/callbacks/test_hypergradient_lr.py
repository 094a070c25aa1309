"""`HypergradientLR` in a Trainer: where the learning rate goes, what each step uses, groups and optimizers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from lightning_lr import CyclicalLR, HypergradientLR
from lightning_lr.adaptation.optimizer_scales import OptimizerScales
from tests.helpers.hypergradient_cases import RULES, first_group_state, mean_loss
from tests.helpers.lightning_classes import Callback, CSVLogger, LearningRateMonitor, TensorBoardLogger
from tests.helpers.recorded_steps import RecordingClassifier, TwoOptimizers, first_group_lrs, fit
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
    model = RecordingClassifier(lr=lr, optimizer=optimizer)
    fit(model, HypergradientLR(), data=loader(100), max_epochs=2)
    assert mean_loss(model) < 0.5 * model.losses[0]
    assert 1e-4 < max(first_group_lrs(model)[-40:]) < 3


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
        fit(Classifier(lr=lr), HypergradientLR(decay=None), steps[lr], max_steps=1)
    assert steps[1.0].share == pytest.approx(1e-3, rel=1e-3)
    assert steps[1e4].share == pytest.approx(1e-3, rel=1e-3)
    assert steps[1.0].lr == pytest.approx(steps[1e4].lr, rel=1e-3)
    assert steps[1e-6].share < 1e-4
    assert steps[1e-6].lr == 1e-6


@pytest.mark.parametrize("scheduled", [False, True])
def test_learning_rates_are_written_once_a_step(scheduled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end of a batch; again only at the start of an epoch, and after the first step."""
    written, write = [], OptimizerScales.write

    def counted(scales: OptimizerScales, *args: Any, **kwargs: Any) -> None:
        written.append(scales)
        write(scales, *args, **kwargs)

    monkeypatch.setattr(OptimizerScales, "write", counted)
    fit(RecordingClassifier(), *([CyclicalLR(1e-3, 1e-2, 7)] if scheduled else []), HypergradientLR(every=1))
    assert 40 <= len(written) <= 40 + 2 * 2 * 2 + 2


@pytest.mark.parametrize("rule", RULES)
def test_every_step_uses_scale_times_schedule(rule: str) -> None:
    """On top of our cycles, in both orders, and of a scheduler that reads the group's value back."""

    class Chained(RecordingClassifier):
        def configure_optimizers(self) -> Any:
            optimizer = super().configure_optimizers()
            scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 50)
            return [optimizer], [{"scheduler": scheduler, "interval": "step"}]

    class Scales(Callback):
        def __init__(self, callback: HypergradientLR) -> None:
            self.callback, self.scales = callback, [1.0]

        def on_train_batch_end(self, *_: Any) -> None:
            self.scales.append(first_group_state(self.callback)["rule"]["scale"])

    cycle = CyclicalLR(0.001, 0.01, 5)
    cosine = [0.01 * (1 + math.cos(math.pi * t / 50)) / 2 for t in range(40)]
    for model_class, before, after, schedule in (
        (RecordingClassifier, [CyclicalLR(0.001, 0.01, 5)], [], cycle.preview(40).lr.tolist()),
        (RecordingClassifier, [], [CyclicalLR(0.001, 0.01, 5)], cycle.preview(40).lr.tolist()),
        (Chained, [], [], cosine),
    ):
        torch.manual_seed(0)
        model = model_class(lr=0.01)
        adapts = RULES[rule]()
        scales = Scales(adapts)
        fit(model, *before, adapts, *after, scales)
        assert len(set(scales.scales)) > 20
        expected = [scale * lr for scale, lr in zip(scales.scales, schedule, strict=False)]
        assert first_group_lrs(model) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("monitor_first", [True, False])
def test_what_is_logged_is_what_was_used(monitor_first: bool, tmp_path: Path) -> None:
    monitor, model, adapts = LearningRateMonitor("step"), RecordingClassifier(), HypergradientLR()
    order: list[Callback] = [monitor, adapts] if monitor_first else [adapts, monitor]
    loggers: Any = [CSVLogger(tmp_path), TensorBoardLogger(tmp_path)]
    fit(model, *order, CyclicalLR(0.001, 0.01, 5), logger=loggers, log_every_n_steps=1)
    assert monitor.lrs["lr-SGD"] == first_group_lrs(model)
    events = EventAccumulator(loggers[1].log_dir).Reload()
    assert [e.value for e in events.Scalars("lr/SGD")] == pytest.approx(first_group_lrs(model), rel=1e-6)
    alignment, log10_scale, turns = (
        [event.value for event in events.Scalars(f"hypergradient/{key}/SGD")]
        for key in ("alignment", "log10_scale", "turns")
    )
    assert any(alignment)
    assert all(-1 <= each <= 1 for each in alignment)
    assert 10 ** log10_scale[-1] == pytest.approx(first_group_state(adapts)["rule"]["scale"], rel=1e-5)
    assert turns[-1] == first_group_state(adapts)["rule"]["turns"]


def test_groups_keep_their_ratio_or_have_a_scale_each() -> None:
    ratio, each = RecordingClassifier(backbone_ratio=0.1), RecordingClassifier(backbone_ratio=0.1)
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


@pytest.mark.filterwarnings("ignore:HypergradientLR. .* steps on its own loss")
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
    class TensorRate(RecordingClassifier):
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
        plain = RecordingClassifier(optimizer="Adam", lr=1e-5)
        fit(plain, RULES[rule](), CyclicalLR(1e-5, 1e-4, 5))
        assert first_group_lrs(model) == pytest.approx(first_group_lrs(plain), rel=1e-3)


class FilledLater(TwoOptimizers):
    """An optimizer that has no parameters until epoch 1, or, to compare with, none that are trainable."""

    def __init__(self, kind: Any, begins_empty: bool) -> None:
        super().__init__()
        self.kind, self.begins_empty = kind, begins_empty

    def configure_optimizers(self) -> Any:
        self.head.requires_grad_(False)
        params = [] if self.begins_empty else [*self.head.parameters()]
        return self.kind(self.backbone.parameters(), 0.01), self.kind([{"params": params}], 0.01)

    def on_train_epoch_start(self) -> None:
        if self.current_epoch == 1:
            self.head.requires_grad_(True)
            if self.begins_empty:
                self.trainer.optimizers[1].param_groups[0]["params"] += self.head.parameters()


@pytest.mark.filterwarnings("ignore:HypergradientLR. .* steps on its own loss")
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.RMSprop])
@pytest.mark.parametrize("rule", RULES)
def test_an_optimizer_that_is_empty_at_first(rule: str, kind: Any) -> None:
    """Its learning rate is that of an optimizer whose parameters are frozen at first."""
    used = []
    for begins_empty in (True, False):
        torch.manual_seed(0)
        model, adapts = FilledLater(kind, begins_empty), RULES[rule]()
        fit(model, adapts)
        used.append(model.used)
        assert adapts.state_dict()["progress"][1]["adaptation"]["movement"] is not None
    assert used[0] == used[1]
    assert len(set(used[0][1][:20])) == 1
    assert len(set(used[0][1][20:])) > 5


def test_a_run_whose_only_optimizer_stays_empty() -> None:
    class Empty(Classifier):
        def configure_optimizers(self) -> Any:
            return torch.optim.SGD([{"params": []}], 0.01)

    for adapts in (HypergradientLR(decay=None), HypergradientLR(adapt=False), HypergradientLR(rule="multiplicative")):
        trainer = fit(Empty(), adapts)
        assert trainer.callback_metrics["lr/SGD"] == pytest.approx(0.01)


def test_optimizers_that_the_module_makes_anew_are_adapted() -> None:
    class MakesAnew(RecordingClassifier):
        def on_fit_start(self) -> None:
            self.trainer.strategy.setup_optimizers(self.trainer)

    torch.manual_seed(0)
    model = MakesAnew(lr=1e-6)
    fit(model, HypergradientLR(), data=loader(60), max_epochs=1)
    assert max(first_group_lrs(model)) > 1e-5
