"""A batch whose loss is NaN at any learning rate, in a range test and in a search: it is no divergence."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from lightning_lr import LRRangeTest, LRSearch
from tests.helpers.lr_finder_runs import fit
from tests.helpers.tiny_models import Classifier, loader

pytestmark = [
    pytest.mark.filterwarnings("ignore:LR(RangeTest|Search) is not confident"),
    pytest.mark.filterwarnings("ignore:LR(RangeTest|Search). the loss of"),
]

FINDERS: dict[str, Any] = {
    "sweep": lambda: LRRangeTest(verify=False),
    "verified": LRRangeTest,
    "search": lambda: LRSearch(1e-4, 10.0),
}


class Poisoned(Classifier):
    """All weights are NaN after a bad batch."""

    def __init__(self) -> None:
        super().__init__(lr=1e-3)
        self.backbone[1] = nn.Identity()  # no BatchNorm, whose statistics a bad batch would spoil


class Skips(Poisoned):
    """Makes no step on a bad batch, and so goes on unharmed."""

    def on_after_backward(self) -> None:
        gradients = [parameter.grad for parameter in self.parameters() if parameter.grad is not None]
        if not all(gradient.isfinite().all() for gradient in gradients):
            for gradient in gradients:
                gradient.zero_()


def batches(number: int, bad: int | None) -> DataLoader[Any]:
    """Batches of which one has inputs that are NaN."""
    made = list(loader(number))
    if bad is not None:
        made[bad][0] = torch.full_like(made[bad][0], math.nan)
    return DataLoader(made, batch_size=None)  # type: ignore[arg-type]


def found_lr(finder: str, model: type[Classifier], data: DataLoader[Any]) -> float:
    torch.manual_seed(0)
    callback = FINDERS[finder]()
    fit(model(), callback, data=data, max_epochs=math.ceil(60 / len(data)))
    assert callback.result is not None
    return float(callback.result.lr)


@cache
def lr_without(finder: str, number: int) -> float:
    """What is found on the same batches without a bad one. Both models train alike then."""
    return found_lr(finder, Poisoned, batches(number, None))


@pytest.mark.parametrize("bad", [0, 1])
@pytest.mark.parametrize("finder", FINDERS)
def test_one_of_the_first_batches_is_left_out_and_named(finder: str, bad: int) -> None:
    with pytest.warns(UserWarning, match=r"LR.*: the loss of (a )?training batch .* Training will meet it"):
        with_ = found_lr(finder, Poisoned, batches(20, bad))
    # the valley is a decade wide: rates from 0.02 to 0.2 end between 0.07 and 0.11, from 1.5
    assert lr_without(finder, 20) / 10 < with_ < lr_without(finder, 20) * 10


@pytest.mark.parametrize("bad", [0, 1])
@pytest.mark.parametrize("finder", FINDERS)
def test_one_of_the_first_batches_that_the_model_skips(finder: str, bad: int) -> None:
    with_ = found_lr(finder, Skips, batches(20, bad))
    assert lr_without(finder, 20) / 4 < with_ < lr_without(finder, 20) * 4


@pytest.mark.parametrize("model", [Poisoned, Skips])
@pytest.mark.parametrize("finder", ["verified", "search"])
def test_one_batch_of_six(finder: str, model: type[Classifier]) -> None:
    with_, without = found_lr(finder, model, batches(6, 3)), lr_without(finder, 6)
    assert without / 4 < with_ < without * 4


@pytest.mark.parametrize("model", [Poisoned, Skips])
@pytest.mark.parametrize("finder", FINDERS)
def test_one_that_only_the_longer_trials_meet(finder: str, model: type[Classifier]) -> None:
    with_, without = found_lr(finder, model, batches(100, 60)), lr_without(finder, 100)
    assert without / 4 < with_ < without * 4


@pytest.mark.filterwarnings("error:.*Training will meet it")
def test_a_batch_that_is_not_finite_only_with_trained_weights_stays() -> None:
    class Overflows(Poisoned):
        """Its loss becomes NaN all at once when it has made 50 steps."""

        steps = 0

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return super().training_step(batch, batch_idx) * (math.nan if self.steps > 50 else 1.0)

        def on_before_zero_grad(self, optimizer: Any) -> None:
            self.steps += 1

    with pytest.raises(ValueError, match="diverge or fail"):
        found_lr("search", Overflows, batches(100, None))
