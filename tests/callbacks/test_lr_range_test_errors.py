"""Arguments, models and data that `LRRangeTest` refuses, and runs that it skips."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_lr import LRRangeTest
from tests.helpers.lightning_classes import MisconfigurationException
from tests.helpers.lr_finder_runs import fit, stream
from tests.helpers.tiny_models import Classifier, loader, quiet_trainer

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
    "if_unsure": ({"if_unsure": "shrug"}, "if_unsure"),
    "snapshot": ({"snapshot": "disk"}, "snapshot"),
    "eval_batches": ({"eval_batches": 0}, "eval_batches"),
    "steps_per_lr": ({"steps_per_lr": 0}, "steps_per_lr"),
    "at_epochs": ({"at_epochs": [-1]}, "at_epochs"),
    "no epoch": ({"at_epochs": []}, "at_epochs"),
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
        fit(Classifier(), LRRangeTest(num_steps=20, monitor="nope"))


def test_no_train_loader_is_lightnings_own_error() -> None:
    with pytest.raises(MisconfigurationException, match="train_dataloader"):
        quiet_trainer(callbacks=[LRRangeTest()]).fit(Classifier())


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
