"""What `HypergradientLR` says of the learning rate, and what it refuses."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_lr import HypergradientLR
from tests.helpers.hypergradient_cases import FaultyLoss
from tests.helpers.lightning_classes import PACKAGE, MisconfigurationException, TensorBoardLogger
from tests.helpers.recorded_steps import RecordingClassifier, first_group_lrs, fit
from tests.helpers.tiny_models import Classifier, loader

pytestmark = [
    pytest.mark.filterwarnings("ignore:Attribute 'factor' removed from hparams"),
    pytest.mark.filterwarnings("ignore:The dirpath has changed"),
    pytest.mark.filterwarnings("ignore:.training_step. returned .None."),
]


def test_says_how_the_rate_is(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    for lr, word in ((1e-6, "too low"), (3.0, "too high")):
        model, watches = RecordingClassifier(lr=lr, momentum=0.0), HypergradientLR(adapt=False)
        caplog.clear()
        with caplog.at_level("INFO", logger=PACKAGE):
            fit(model, watches, logger=TensorBoardLogger(tmp_path / word), data=loader(100), max_epochs=1)
        assert f"the learning rate of SGD was {word} in this epoch" in caplog.text
        assert "has come to" not in caplog.text
        assert set(first_group_lrs(model)) == {lr}


def test_says_when_no_gradient_is_finite(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger=PACKAGE):
        fit(FaultyLoss(lambda _: math.nan), HypergradientLR(adapt=False), max_epochs=1)
    assert "no gradient of SGD was finite in this epoch" in caplog.text


def test_says_where_the_rate_has_come_to(caplog: pytest.LogCaptureFixture) -> None:
    """That of the last step, not of one that will not come."""

    class Ends(RecordingClassifier):
        def configure_optimizers(self) -> Any:
            optimizer = super().configure_optimizers()
            scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40)
            return [optimizer], [{"scheduler": scheduler, "interval": "step"}]

    model = Ends()
    with caplog.at_level("INFO", logger=PACKAGE):
        fit(model, HypergradientLR())
    assert f"the learning rate has come to {first_group_lrs(model)[-1]:.3g} for SGD (scale: " in caplog.text


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"max_lr": 1.2e-3}, ["max_lr has kept SGD from a higher one."]),
        ({"freeze_after": 10}, ["freeze_after has kept the scale since step 10."]),
        ({"freeze_after": 36}, []),  # after the beginning of the final decay
        ({"max_lr": 0.5}, []),
    ],
)
def test_says_which_argument_has_kept_the_rate(
    arguments: dict[str, Any], expected: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger=PACKAGE):
        fit(RecordingClassifier(lr=1e-3), HypergradientLR(**arguments))
    (text,) = (record.message for record in caplog.records if "has come to" in record.message)
    assert [f"{name}{rest}" for name in arguments for rest in re.findall(f"{name}( has kept.*?[.])", text)] == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rule": "greedy"}, "rule must be one of long_horizon, multiplicative, additive, got 'greedy'"),
        ({"beta": 0.1}, "takes horizon, the other rules take beta"),
        ({"rule": "additive", "horizon": 5, "beta": 0.1}, "takes horizon, the other rules take beta"),
        ({"rule": "additive"}, "rule='additive' needs beta"),
        ({"rule": "additive", "beta": -1.0}, "beta must be finite and above 0, got -1.0"),
        ({"rule": "multiplicative", "beta": 1.0}, "beta must be above 0 and below 1, got 1.0"),
        ({"rule": "additive", "beta": "0.1"}, "beta must be a number, got '0.1'"),
        ({"every": 0}, "every must be 'auto' or a whole number of at least 1, got 0"),
        ({"every": "often"}, "every must be 'auto' or a whole number of at least 1, got 'often'"),
        ({"adapt": "no"}, "adapt must be true or false, got 'no'"),
        ({"horizon": "3 weeks"}, "horizon must be a whole number of steps above 0"),
        ({"decay": "3 weeks"}, "decay must be 'auto' or a whole number of steps above 0"),
        ({"decay": "1.5run"}, r"decay must be 'auto' .* share of the run up to 1 \(\"0.25run\"\), got '1.5run'"),
        ({"decay": 0}, "decay must be 'auto' or a whole number of steps above 0"),
        ({"freeze_after": "soon"}, "freeze_after must be a whole number of steps above 0"),
        ({"min_lr": 0.0}, "min_lr must be finite and above 0, got 0.0"),
        ({"max_lr": -1.0}, "max_lr must be finite and above 0, got -1.0"),
        ({"max_lr": math.inf}, "max_lr must be finite and above 0, got inf"),
        ({"max_lr": "0.1"}, "max_lr must be a number, got '0.1'"),
        ({"min_lr": 0.1, "max_lr": 0.01}, "min_lr must be at most max_lr=0.01, got 0.1"),
        ({"rule": "multiplicative", "decay": 5}, "'long_horizon' takes decay, got rule='multiplicative' with decay=5"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        HypergradientLR(**arguments)
    assert "\n" not in str(caught.value)


def test_lbfgs_is_refused() -> None:
    class Searches(Classifier):
        def configure_optimizers(self) -> Any:
            return torch.optim.LBFGS(self.parameters())

    with pytest.raises(MisconfigurationException, match="cannot adapt LBFGS"):
        fit(Searches(), HypergradientLR())
