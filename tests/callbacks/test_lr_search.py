"""`LRSearch` in a Trainer: the learning rate that it finds and sets, and the training that follows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_lr import CyclicalLR, LRRangeTest, LRSearch, OneCycleLR
from tests.helpers.lightning_classes import seed_everything
from tests.helpers.lr_finder_runs import SHORT_SEARCH, UsedLRs, fit, found, lrs
from tests.helpers.searches import middle_of
from tests.helpers.tiny_models import Classifier, ManualWithTwoOptimizers

pytestmark = pytest.mark.filterwarnings("ignore:LR(RangeTest|Search) is not confident")


@pytest.mark.parametrize("options", [{}, {"optimizer": "Adam"}, {"backbone_ratio": 0.25}], ids=str)
def test_run_equals_one_started_with_the_learning_rate_found(options: dict[str, Any]) -> None:
    seed_everything(0)
    searched, search = Classifier(lr=1e-3, **options), LRSearch(**SHORT_SEARCH)
    fit(searched, search)
    lr = found(search).lr
    assert searched.hparams["lr"] == lr

    seed_everything(0)
    plain = Classifier(lr=lr, **options)
    fit(plain)
    assert searched.losses == plain.losses
    for ours, theirs in zip(searched.state_dict().values(), plain.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)


def test_the_best_rate_and_all_that_were_tried() -> None:
    search = LRSearch(1e-6, 1e3)
    fit(Classifier(lr=1e-3), search, max_epochs=10)
    result = found(search)
    assert result.confident
    assert 1e-2 < result.lr < 1
    best, middle = result.candidates[0].lr, middle_of(result.candidates)
    assert result.lr == pytest.approx(0.75 * middle)  # with SGD
    assert result.lr < result.max_lr <= 1.7 * middle
    assert result.base_lr == result.max_lr / 4
    verdicts = {each.lr: each.verdict for each in result.candidates}
    assert verdicts[min(verdicts)] == "low"
    assert verdicts[max(verdicts)] == "very high"
    assert verdicts[best] == "good"
    assert result.steps < 1400
    assert all(each.verdict == "good" for each in result.candidates if result.lr <= each.lr <= result.max_lr)


def test_apply_false_changes_nothing() -> None:
    losses = []
    for callbacks in ([LRSearch(**SHORT_SEARCH, apply=False)], []):
        seed_everything(0)
        model = Classifier(lr=1e-3)
        fit(model, *callbacks)
        losses.append(model.losses)
        assert model.hparams["lr"] == 1e-3
    assert losses[0] == losses[1]


def test_a_validation_metric_that_should_rise() -> None:
    search = LRSearch(
        **{**SHORT_SEARCH, "budget": 900}, monitor="val_acc", monitor_mode="max", steps_per_eval=25, eval_batches=2
    )
    fit(Classifier(lr=1e-3), search)
    result = found(search)
    assert 0.5 < result.candidates[0].score <= 1
    assert all(len(each.values) == each.steps / 25 for each in result.candidates)


def test_open_schedules_take_their_bounds() -> None:
    search, cycle, watch = LRSearch(**SHORT_SEARCH), CyclicalLR(step_size=5), UsedLRs()
    fit(Classifier(lr=1e-3), cycle, search, watch, max_epochs=1)
    assert (watch.lrs[0], watch.lrs[5]) == pytest.approx((found(search).base_lr, found(search).max_lr))
    one, watch = OneCycleLR(pct_start=0.5), UsedLRs()
    fit(Classifier(lr=1e-3), search, one, watch, max_epochs=1)
    assert max(watch.lrs) == pytest.approx(found(search).one_cycle_max_lr)


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize("kind", ["search", "range test"])
def test_cycles_with_the_bounds_end_as_well_as_the_constant_rate(kind: str, optimizer: str) -> None:
    """No bound is above a learning rate that the trials call high or very high."""
    finder = LRSearch(1e-5, 10.0) if kind == "search" else LRRangeTest(num_steps=60)
    cyclical, one_cycle = CyclicalLR(step_size="1ep"), OneCycleLR()
    ends = {}
    for name, callback in (("constant", finder), ("cyclical", cyclical), ("one cycle", one_cycle)):
        seed_everything(1)
        model, watch = Classifier(lr=1e-3, optimizer=optimizer), UsedLRs()
        fit(model, callback, watch, max_epochs=6)
        result = found(finder)
        cyclical.set_bounds_from(result)
        one_cycle.set_bounds_from(result)
        too_high = [each.lr for each in result.candidates if each.lr > result.lr and "high" in each.verdict]
        assert max(watch.lrs) < min(too_high)
        assert max(watch.lrs) == pytest.approx(result.lr if callback is finder else result.max_lr)
        ends[name] = sum(model.losses[-20:]) / 20
    assert ends["cyclical"] < 1.5 * ends["constant"] + 0.02
    assert ends["one cycle"] < 1.5 * ends["constant"] + 0.02


@pytest.mark.parametrize("finder", [LRSearch(1e-7, 1e-5), LRRangeTest(1e-8, 1e-5, 20)], ids=["search", "test"])
def test_no_reason_names_a_limit_that_the_search_left(finder: Any) -> None:
    """The range does not end the search, so "raise max_lr" is no advice."""
    fit(Classifier(lr=1e-3), finder, max_epochs=2)
    result = found(finder)
    assert result.lr > 1e-3
    assert not any("max_lr" in reason or "min_lr" in reason for reason in result.reasons)


class Overflowing(Classifier):
    """NaN above a learning rate, from the third step on."""

    def __init__(self, above: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.above = above

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        too_high = self.optimizers().param_groups[0]["lr"] > self.above  # type: ignore[union-attr]
        return loss * torch.nan if too_high and len(self.losses) > 2 else loss


def test_nan_never_wins() -> None:
    search, model = LRSearch(**SHORT_SEARCH), Overflowing(0.02, lr=1e-3)
    fit(model, search)
    assert found(search).lr < 0.02
    assert {each.verdict for each in found(search).candidates if each.lr > 0.02} == {"very high"}
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


@pytest.mark.filterwarnings("ignore:LRSearch. the loss of a training batch")
def test_where_all_rates_diverge_the_search_goes_down_and_leaves_the_model_alone() -> None:
    model = Overflowing(0.0, lr=1e-3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=r"All 31 learning rates from 1e-15 .* steps: look for what makes") as error:
        fit(model, LRSearch(**SHORT_SEARCH))
    assert "\n" not in str(error.value)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_manual_optimization_with_two_optimizers() -> None:
    search = LRSearch(**SHORT_SEARCH)
    trainer = fit(ManualWithTwoOptimizers(), search)
    assert lrs(trainer) == pytest.approx([found(search).lr, 0.1 * found(search).lr])


def test_the_same_callback_searches_again_in_another_run() -> None:
    search, results = LRSearch(**SHORT_SEARCH), []
    for _ in range(2):
        fit(Classifier(lr=1e-3), search, max_epochs=1)
        results.append(search.result)
    assert results[0] is not results[1] is not None
