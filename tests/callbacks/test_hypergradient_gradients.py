"""Gradients that `HypergradientLR` measures: scaled, overflowing, accumulated, missing, frozen, sparse."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_lr import HypergradientLR
from tests.helpers.chosen_device import DEVICE
from tests.helpers.hypergradient_cases import RULES, FaultyLoss, first_group_state, mean_loss
from tests.helpers.lightning_classes import MixedPrecision
from tests.helpers.recorded_steps import RecordingClassifier, first_group_lrs, fit
from tests.helpers.tiny_models import loader

pytestmark = [
    pytest.mark.filterwarnings("ignore:Attribute 'factor' removed from hparams"),
    pytest.mark.filterwarnings("ignore:The dirpath has changed"),
    pytest.mark.filterwarnings("ignore:.training_step. returned .None."),
]


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_overflow_in_mixed_precision_changes_nothing(rule: str, fused: bool) -> None:
    class Fused(FaultyLoss):
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

    class Fused(RecordingClassifier):
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
        rates.append(first_group_lrs(model))
    assert rates[0][-1] > 1.05 * rates[0][0]
    assert rates[0] == pytest.approx(rates[1], rel=0.01)


def test_accumulation_and_none_from_the_training_step() -> None:
    class Sometimes(RecordingClassifier):
        def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Any:
            loss = super().training_step(batch, batch_idx)
            return None if batch_idx % 7 == 3 else loss

    for kwargs, steps in (({"accumulate_grad_batches": 3}, 28), ({}, 80)):
        model = (RecordingClassifier if kwargs else Sometimes)(lr=1e-5)
        adapts = HypergradientLR()
        trainer = fit(model, adapts, gradient_clip_val=0.5, max_epochs=4, **kwargs)
        assert trainer.global_step == len(model.used) == steps
        assert first_group_state(adapts)["rule"]["scale"] > 2


def test_frozen_and_unused_parameters_and_empty_groups() -> None:
    class Partly(RecordingClassifier):
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
        fit(model, HypergradientLR(per_group=per_group, decay=None), data=loader(100))
        frozen, trained, empty = model.used[-1]
        assert trained > 1e-4
        assert (frozen, empty) == ((1e-5, 1e-5) if per_group else (trained, trained))


def test_sparse_gradients() -> None:
    class Words(RecordingClassifier):
        def __init__(self) -> None:
            super().__init__(momentum=0.0, lr=1e-4)
            self.words = torch.nn.Embedding(50, 6, sparse=True)

        def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
            x, y = batch
            return super().training_step((x + self.words(torch.arange(len(x), device=x.device) % 7), y), batch_idx)

    for rule in RULES:
        model = Words()
        fit(model, RULES[rule]())
        assert first_group_lrs(model)[-1] != first_group_lrs(model)[0]
