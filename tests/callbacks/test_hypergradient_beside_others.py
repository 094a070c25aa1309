"""`HypergradientLR` beside other callbacks, of Lightning and of this package, and beside schedulers."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_lr import CyclicalLR, HypergradientLR, LRRangeTest
from tests.helpers.chosen_device import DEVICE
from tests.helpers.hypergradient_cases import first_group_state, without_dropout
from tests.helpers.lightning_classes import BackboneFinetuning, Callback, StochasticWeightAveraging, callbacks
from tests.helpers.recorded_steps import RecordingClassifier, first_group_lrs, fit

pytestmark = [
    pytest.mark.filterwarnings("ignore:Attribute 'factor' removed from hparams"),
    pytest.mark.filterwarnings("ignore:The dirpath has changed"),
    pytest.mark.filterwarnings("ignore:.training_step. returned .None."),
]


@pytest.mark.parametrize("adapts_first", [True, False])
def test_backbone_finetuning(adapts_first: bool) -> None:
    class Head(RecordingClassifier):
        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.head.parameters(), 1e-4, momentum=0.9)
            optimizer.register_step_pre_hook(lambda opt, *_: self.record(opt))
            return optimizer

    torch.manual_seed(0)
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
    model, adapts = RecordingClassifier(), HypergradientLR()
    test = LRRangeTest(num_steps=20, at_epochs=(0, 1), verify=False)
    with pytest.warns(UserWarning, match="not confident"):
        fit(model, *((adapts, test) if adapts_first else (test, adapts)), max_epochs=3)
    assert test.result is not None
    # what a step used, behind the one epoch between the sweeps, whose steps are lost with all else of a sweep
    assert model.used[20][0] == pytest.approx(test.result.lr, rel=1e-12)
    assert model.used[25][0] != model.used[20][0]


@pytest.mark.parametrize("adapts_first", [True, False])
def test_range_test_at_the_start_sets_the_rate_to_begin_with(adapts_first: bool) -> None:
    """Which is good, so that the first step is not made short."""
    model, adapts, test = RecordingClassifier(), HypergradientLR(), LRRangeTest(num_steps=40, verify=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit(model, *((adapts, test) if adapts_first else (test, adapts)))
    assert test.result is not None
    assert model.used[0][0] == model.used[1][0] == pytest.approx(test.result.lr, rel=1e-12)
    assert model.used[-1][0] != model.used[0][0]


@pytest.mark.parametrize("adapts_first", [True, False])
@pytest.mark.filterwarnings("ignore:LRRangeTest is not confident")
def test_range_test_in_a_resumed_run_sets_the_rate_to_go_on_with(adapts_first: bool, tmp_path: Path) -> None:
    """Not that of the checkpoint, whose scheduled rate and scale were those of before."""
    fit(RecordingClassifier(), HypergradientLR(decay=None), max_epochs=2).save_checkpoint(tmp_path / "run.ckpt")
    model, adapts = RecordingClassifier(), HypergradientLR(decay=None)
    test = LRRangeTest(num_steps=40, at_epochs=(2,), verify=False)
    order = (adapts, test) if adapts_first else (test, adapts)
    fit(model, *order, max_epochs=3, ckpt_path=tmp_path / "run.ckpt")
    assert test.result is not None
    assert model.used[0][0] == pytest.approx(test.result.lr, rel=1e-12)
    assert model.used[-1][0] != model.used[0][0]


@pytest.mark.skipif(not hasattr(callbacks, "WeightAveraging"), reason="Lightning 2.6 brought it")
@pytest.mark.skipif(DEVICE == "cuda", reason="torch cannot average BatchNorm's counter there")
def test_weight_averaging() -> None:
    models = [without_dropout(), without_dropout()]
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
            scale = 1.0 if self.adapts is None else first_group_state(self.adapts)["rule"]["scale"]
            self.values.append(group["lr"] / scale)

    values = []
    for adapts in (None, HypergradientLR()):
        own = Own(adapts)
        average = StochasticWeightAveraging(0.02, swa_epoch_start=1, annealing_epochs=4)
        others: list[Callback] = [] if adapts is None else [adapts]
        fit(RecordingClassifier(), *([*others, average] if adapts_first else [average, *others]), own, max_epochs=6)
        values.append(own.values)
    assert 0.01 < values[0][2] < values[0][3] < 0.02
    assert values[1] == pytest.approx(values[0], rel=1e-6)


def test_a_scheduler_of_ones_own_is_warned_of() -> None:
    class Hidden(RecordingClassifier):
        def configure_optimizers(self) -> Any:
            optimizer = super().configure_optimizers()
            self.scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
            return optimizer

    with pytest.warns(UserWarning, match="SGD has a scheduler that configure_optimizers does not return"):
        fit(Hidden(), HypergradientLR())


def test_range_test_beside_bounds_of_ones_own_leaves_the_scale() -> None:
    """The test sets nothing there, so that what was learned holds."""
    rates = []
    for tests in ([], [LRRangeTest(num_steps=20, at_epochs=(1,), verify=False)]):
        torch.manual_seed(0)
        model = RecordingClassifier()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit(model, HypergradientLR(), CyclicalLR(1e-5, 1e-4, 5), *tests, max_epochs=3)
        rates.append(first_group_lrs(model))
    assert rates[0] == rates[1]
    assert rates[0][-1] > 2 * rates[0][0]


@pytest.mark.parametrize("as_tensor", [False, True], ids=["float", "tensor"])
def test_range_test_that_sets_nothing_leaves_no_trace(as_tensor: bool) -> None:
    class Rates(RecordingClassifier):
        def configure_optimizers(self) -> Any:
            optimizer = super().configure_optimizers()
            if as_tensor:
                optimizer.param_groups[0]["lr"] = torch.tensor(1e-3, dtype=torch.float64)
            return optimizer

    models = []
    for tests in ([], [LRRangeTest(num_steps=40, apply=False, at_epochs=(2,), verify=False)]):
        torch.manual_seed(0)
        models.append(Rates(lr=1e-3))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit(models[-1], *tests, HypergradientLR(horizon=20), max_epochs=4)
    assert models[0].used == models[1].used
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(one, other)
