"""Arguments, models and data that `LRRangeTest` refuses, and runs that it skips."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lightning_lr import LRRangeTest
from tests.helpers.lightning_classes import MisconfigurationException
from tests.helpers.lr_finder_runs import fit, stream
from tests.helpers.tiny_models import Classifier, LogsLoss, loader, quiet_trainer

UNSURE = "ignore:LRRangeTest is not confident"
pytestmark = pytest.mark.filterwarnings(UNSURE)


BAD_ARGUMENTS: dict[str, tuple[dict[str, Any], str]] = {
    "words for steps": ({"num_steps": "many"}, "num_steps must be a whole number of at least 1, got 'many'"),
    "words for a rate": ({"min_lr": "tiny"}, "min_lr must be a number, got 'tiny'"),
    "min_lr of 0": ({"min_lr": 0.0}, "min_lr"),
    "min_lr above max_lr": ({"min_lr": 1.0, "max_lr": 0.1}, "min_lr"),
    "too few steps": ({"num_steps": 9}, "num_steps"),
    "too few stairs": ({"num_steps": 30, "steps_per_lr": 4}, "num_steps"),
    "mode": ({"mode": "zigzag"}, "mode"),
    "rule": ({"rule": "magic"}, "rule"),
    "monitor_mode": ({"monitor_mode": "up"}, "monitor_mode"),
    "verify as text": ({"verify": "no"}, "verify must be true or false, got 'no'"),
    "snapshot": ({"snapshot": "disk"}, "snapshot"),
    "eval_batches": ({"eval_batches": 0}, "eval_batches"),
    "steps_per_lr": ({"steps_per_lr": 0}, "steps_per_lr"),
    "at_epochs": ({"at_epochs": [-1]}, "at_epochs"),
    "no epoch": ({"at_epochs": []}, r"at_epochs must be a list of at least one epoch, .* got \[\]"),
    "one epoch without a list": ({"at_epochs": 0}, "at_epochs must .* got 0"),
    "another epoch without a list": ({"at_epochs": 3}, "at_epochs must .* got 3"),
    "half an epoch": ({"at_epochs": [0.5]}, r"at_epochs must .* got \[0.5\]"),
    "epochs in words": ({"at_epochs": "first"}, "at_epochs must .* got 'first'"),
    "half a step": ({"steps_per_lr": 1.5}, "steps_per_lr must be a whole number of at least 1, got 1.5"),
    "one rate for a list": ({"lrs": 0.1}, "lrs must .* got 0.1"),
    "words for a list": ({"lrs": "..."}, r"lrs must .* got '\.\.\.'"),
    "words in a list": ({"lrs": ["a"] * 12}, "lrs must .* got"),
    "no list": ({"lrs": []}, r"lrs must .* got \[\]"),
    "a list for a rate": ({"max_lr": [1.0]}, r"max_lr must be a number, got \[1.0\]"),
    "infinite max_lr": ({"max_lr": float("inf")}, "max_lr"),
    "half steps": ({"num_steps": 99.5}, "num_steps must be a whole number of at least 1, got 99.5"),
    "no steps": ({"num_steps": None}, "num_steps must be a whole number of at least 1, got None"),
    "number for the rule": ({"rule": 3}, "rule must be one of .* got 3"),
    "number for verify": ({"verify": 1}, "verify must be true or false, got 1"),
    "monitor as number": ({"monitor": 5}, "monitor must .* got 5"),
    "a file": ({"output_dir": __file__}, "output_dir"),
    "falling list": ({"lrs": [1.0 / i for i in range(1, 20)]}, "lrs"),
    "short list": ({"lrs": [0.1, 0.2]}, "lrs"),
}


@pytest.mark.parametrize("case", BAD_ARGUMENTS)
def test_bad_arguments_are_refused_by_name_and_value(case: str) -> None:
    arguments, name = BAD_ARGUMENTS[case]
    with pytest.raises(ValueError, match=name) as error:
        LRRangeTest(**arguments)
    assert "\n" not in str(error.value)


class Detached(Classifier):
    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return super().training_step(batch, batch_idx).detach()


class WithoutOptimizer(Classifier):
    def configure_optimizers(self) -> Any:
        return None


@pytest.mark.filterwarnings("ignore:`LightningModule.configure_optimizers` returned `None`")
@pytest.mark.parametrize(
    ("model", "data", "arguments", "message"),
    [
        (Detached(), loader(), {}, "no gradient"),
        (WithoutOptimizer(), loader(), {}, "return an optimizer with lr > 0"),
        (Classifier(), stream(15), {}, "needs 20 optimizer steps, but the training data ended after 14"),
        (Classifier(), loader(), {"monitor": "nope"}, "there is no validation data"),
    ],
    ids=["loss without gradient", "no optimizer", "short stream", "no validation data"],
)
def test_bad_models_and_data_get_one_sentence(model: Any, data: Any, arguments: dict[str, Any], message: str) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trainer = quiet_trainer(callbacks=[LRRangeTest(num_steps=20, **arguments)])
    with pytest.raises((MisconfigurationException, ValueError), match=message) as error:
        trainer.fit(model, data)
    assert "\n" not in str(error.value)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_unknown_key_lists_the_keys_that_are_logged() -> None:
    with pytest.raises(MisconfigurationException, match=r"does not log this key\. It logs: train_loss, val_acc"):
        fit(LogsLoss(), LRRangeTest(num_steps=20, monitor="nope"))


def test_no_train_loader_is_lightnings_own_error() -> None:
    with pytest.raises(MisconfigurationException, match="train_dataloader"):
        quiet_trainer(callbacks=[LRRangeTest()]).fit(Classifier())


def test_whole_numbers_of_other_types_are_taken() -> None:
    LRRangeTest(num_steps=100.0, at_epochs=np.array([0, 2]))  # type: ignore[arg-type]
    LRRangeTest(lrs=np.geomspace(1e-5, 1.0, 20), at_epochs=(0, 5))  # type: ignore[arg-type]


def test_a_stream_may_end_where_the_sweep_goes_on_beyond_its_range() -> None:
    """All 20 points were read. The loss still falls at the last one, so the sweep takes what is left of the stream."""
    test = LRRangeTest(1e-7, 1e-2, 20, verify=False)
    fit(Classifier(), test, data=stream(24), max_epochs=1)
    assert test.result is not None
    assert 20 <= len(test.result.curve.lrs) <= 24
    assert test.result.curve.num_finite == len(test.result.curve.lrs)


def test_fast_dev_run_is_skipped_with_one_warning() -> None:
    test = LRRangeTest()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(Classifier(), test, fast_dev_run=True)
    assert test.result is None
    assert [str(w.message) for w in caught if "LRRangeTest" in str(w.message)] == [
        "LRRangeTest is skipped: Trainer(fast_dev_run=...) is set."
    ]


def test_same_trainer_can_fit_again_after_an_error() -> None:
    model, test = Classifier(lr=1e-3), LRRangeTest(num_steps=30)

    class Fails(Classifier):
        def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
            if len(self.losses) == 12:
                raise KeyError("the user's own")
            return super().training_step(batch, batch_idx)

    trainer = quiet_trainer(callbacks=[test])
    with pytest.raises(KeyError, match="the user's own"):
        trainer.fit(Fails(), loader())
    trainer.fit(model, loader(), loader(4, seed=1))
    assert test.result is not None
    assert len(model.losses) == 40
