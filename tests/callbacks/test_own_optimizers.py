"""Optimizers of one's own that Lightning trains: groups without a learning rate, and wrappers without step hooks."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Optimizer

from lightning_lr import CyclicalLR, HypergradientLR, LRRangeTest, LRSearch, LRTrace, OneCycleLR
from tests.helpers.lightning_classes import CSVLogger, MisconfigurationException
from tests.helpers.recorded_steps import fit
from tests.helpers.tiny_models import Classifier, ManualWithTwoOptimizers


class WithoutLR(Optimizer):
    """Moves parameters by a thousandth of their gradients."""

    def __init__(self, params: Any) -> None:
        super().__init__(params, {"share": 1e-3})

    def step(self, closure: Any = None) -> Any:
        loss = None if closure is None else closure()
        with torch.no_grad():
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter.sub_(group["share"] * parameter.grad)
        return loss


class Wrapper(Optimizer):
    """Steps another optimizer, and calls no ``super().__init__``."""

    def __init__(self, inner: Optimizer) -> None:
        self.inner, self.state, self.defaults = inner, inner.state, inner.defaults

    @property
    def param_groups(self) -> list[dict[str, Any]]:  # type: ignore[override]
        return self.inner.param_groups

    def step(self, closure: Any = None) -> Any:
        return self.inner.step(closure)

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.inner.zero_grad(set_to_none)


class Delegates(Wrapper):
    """It has the hooks of the other one, which is what they are called with."""

    def __getattr__(self, name: str) -> Any:
        return getattr(vars(self)["inner"], name)


class DerivedSGD(SGD):
    def step(self, closure: Any = None) -> Any:
        return super().step(closure)


class Trains(Classifier):
    def __init__(self, make: Callable[[nn.Module], Optimizer]) -> None:
        super().__init__()
        self.make = make

    def configure_optimizers(self) -> Any:
        return self.make(self)


class BesideSGD(ManualWithTwoOptimizers):
    """SGD for the backbone, and another optimizer for the head."""

    def __init__(self, make: Callable[[nn.Module], Optimizer]) -> None:
        super().__init__()
        self.make = make

    def configure_optimizers(self) -> Any:
        self.others = SGD(self.backbone.parameters(), 0.1), self.make(self.head)
        return self.others


def _without_lr(module: nn.Module) -> Optimizer:
    return WithoutLR(module.parameters())


def _partly_without_lr(module: nn.Module) -> Optimizer:
    with_lr, *others = module.parameters()
    return WithoutLR([{"params": [with_lr], "lr": 0.5}, {"params": others}])


def _wrapper(module: nn.Module) -> Optimizer:
    return Wrapper(SGD(module.parameters(), 0.1))


def _delegates(module: nn.Module) -> Optimizer:
    return Delegates(SGD(module.parameters(), 0.1))


def _delegates_derived(module: nn.Module) -> Optimizer:
    return Delegates(DerivedSGD(module.parameters(), 0.01))


def _logged(logger: CSVLogger) -> dict[str, str]:
    """The last row that has a loss."""
    with (Path(logger.log_dir) / "metrics.csv").open() as file:
        row = [row for row in csv.DictReader(file) if row.get("lr/loss")][-1]
    return {key: value for key, value in row.items() if key.startswith("lr/")}


@pytest.mark.parametrize(
    ("make", "traced"),
    [(_without_lr, {}), (_partly_without_lr, {"lr/WithoutLR/pg1": 0.5}), (_delegates, {"lr/Delegates": 0.1})],
)
def test_the_trace_has_the_groups_that_have_a_rate(make: Any, traced: dict[str, float], tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path)
    trainer = fit(Trains(make), LRTrace(), logger=logger, log_every_n_steps=5)
    logged = _logged(logger)
    assert float(logged.pop("lr/loss")) > 0
    assert {key: float(value) for key, value in logged.items()} == traced
    metrics = {key: float(value) for key, value in trainer.callback_metrics.items() if key.startswith("lr/")}
    assert metrics == pytest.approx(traced)


def test_a_wrapper_without_hooks_is_not_traced_which_is_said_once() -> None:
    with pytest.warns(UserWarning, match=r"steps of Wrapper are not traced. It has no step hooks.*super") as said:
        trainer = fit(Trains(_wrapper), LRTrace(), LRTrace())
    assert sum("not traced" in str(warning.message) for warning in said) == 1
    assert trainer.global_step == 40
    assert not any(key.startswith("lr") for key in trainer.callback_metrics)


@pytest.mark.parametrize("make", [_without_lr, _partly_without_lr, _wrapper])
def test_a_schedule_leaves_other_optimizers_alone(make: Any) -> None:
    model = BesideSGD(make)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The steps of Wrapper are not traced")
        trainer = fit(model, CyclicalLR(0.01, 0.2, 5, optimizer=0))
    assert trainer.callback_metrics["lr/SGD"] == pytest.approx(CyclicalLR(0.01, 0.2, 5).preview(40).lr[-1])
    assert {group.get("lr") for group in model.others[1].param_groups} <= {None, 0.5, 0.1}


@pytest.mark.parametrize("callback", [CyclicalLR(0.01, 0.1, 4), HypergradientLR()])
def test_a_wrapper_may_hold_an_optimizer_whose_step_calls_that_of_its_base(callback: Any) -> None:
    SGD([nn.Parameter(torch.ones(1))])  # torch wraps the step of a class that has been used
    fit(Trains(_delegates_derived), callback)
    progress = callback.state_dict()["progress"]
    assert progress["courses"][0]["count"] == 40 if isinstance(callback, CyclicalLR) else progress


@pytest.mark.filterwarnings("ignore:LRRangeTest is not confident")
@pytest.mark.parametrize(
    "callback", [HypergradientLR(), HypergradientLR(rule="multiplicative"), LRRangeTest(num_steps=40, verify=False)]
)
def test_an_optimizer_without_a_rate_is_left_as_it_is(callback: Any) -> None:
    model = BesideSGD(_without_lr)
    trainer = fit(model, callback)
    assert trainer.callback_metrics["lr/SGD"] != 0.1
    assert "lr" not in model.others[1].param_groups[0]


@pytest.mark.filterwarnings("ignore:LRRangeTest is not confident")
def test_a_range_test_leaves_a_group_without_a_rate_as_it_is() -> None:
    model = BesideSGD(_partly_without_lr)
    test = LRRangeTest(num_steps=40, verify=False)
    fit(model, test)
    assert test.result is not None
    of_sgd, (first, second) = model.others[0].param_groups[0], model.others[1].param_groups
    assert (of_sgd["lr"], first["lr"]) == pytest.approx((test.result.lr / 5, test.result.lr))
    assert "lr" not in second


@pytest.mark.parametrize("callback", [CyclicalLR(0.01, 0.2, 5), OneCycleLR(0.2), HypergradientLR()])
def test_a_group_without_a_rate_cannot_be_driven(callback: Any) -> None:
    with pytest.raises(MisconfigurationException, match=r"WithoutLR has a group without one: give the group an lr"):
        fit(Trains(_partly_without_lr), callback)


@pytest.mark.parametrize("callback", [HypergradientLR(), LRRangeTest(), LRSearch()])
def test_no_rate_at_all_is_refused(callback: Any) -> None:
    with pytest.raises(ValueError, match="No parameter group has a learning rate above 0"):
        fit(Trains(_without_lr), callback)


@pytest.mark.parametrize(
    "callback", [CyclicalLR(0.01, 0.2, 5), OneCycleLR(0.2), HypergradientLR(), LRRangeTest(), LRSearch()]
)
def test_a_wrapper_without_hooks_is_refused(callback: Any) -> None:
    name = type(callback).__name__
    message = rf"{name} cannot follow the steps of Wrapper, which has no step hooks.*: call super\(\).__init__ there"
    with pytest.raises(MisconfigurationException, match=message):
        fit(Trains(_wrapper), callback)


@pytest.mark.parametrize("callback", [CyclicalLR(0.01, 0.2, 5), HypergradientLR(), LRRangeTest(num_steps=40)])
def test_a_wrapper_that_has_the_hooks_of_the_inner_one_is_driven(callback: Any) -> None:
    trainer = fit(Trains(_delegates), callback)
    assert trainer.callback_metrics["lr/Delegates"] != 0.1
