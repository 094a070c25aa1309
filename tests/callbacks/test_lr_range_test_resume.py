"""`LRRangeTest` in a run that is resumed from a checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lightning_lr import LRRangeTest
from tests.helpers.lr_finder_runs import fit, lrs
from tests.helpers.tiny_models import Classifier, loader, quiet_trainer

UNSURE = "ignore:LRRangeTest is not confident"
pytestmark = pytest.mark.filterwarnings(UNSURE)


def test_resume_does_not_test_again(tmp_path: Path) -> None:
    first = LRRangeTest(num_steps=20, verify=False)
    trainer = fit(Classifier(lr=1e-3), first, max_epochs=1)
    trainer.save_checkpoint(tmp_path / "run.ckpt")

    second = LRRangeTest(num_steps=20, verify=False)
    model = Classifier(lr=1e-3)
    resumed = quiet_trainer(callbacks=[second], max_epochs=2)
    resumed.fit(model, loader(), ckpt_path=tmp_path / "run.ckpt")
    assert first.result is not None
    assert second.result is not None
    assert len(model.losses) == 20
    assert second.result.lr == first.result.lr
    assert second.result.reasons == first.result.reasons
    np.testing.assert_array_equal(second.result.curve.losses, first.result.curve.losses)
    assert lrs(resumed) == [first.result.lr]


def test_changed_arguments_are_named_on_resume(tmp_path: Path) -> None:
    trainer = fit(Classifier(), LRRangeTest(num_steps=20, verify=False), max_epochs=1)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    with pytest.warns(UserWarning, match="LRRangeTest is resumed with changed arguments.*num_steps: 20 -> 30"):
        quiet_trainer(callbacks=[LRRangeTest(num_steps=30, verify=False)]).fit(
            Classifier(), loader(), ckpt_path=tmp_path / "run.ckpt"
        )


def test_a_test_added_after_its_epoch_says_so(tmp_path: Path) -> None:
    trainer = fit(Classifier(), max_epochs=1)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    with pytest.warns(UserWarning, match=r"at_epochs=\[0\] lies before epoch 1"):
        quiet_trainer(callbacks=[LRRangeTest(num_steps=20, verify=False)]).fit(
            Classifier(), loader(), ckpt_path=tmp_path / "run.ckpt"
        )


def test_a_subclass_may_have_a_state_key_of_its_own() -> None:
    class Named(LRRangeTest):
        @property
        def state_key(self) -> str:
            return "mine"

    assert Named().state_key == "mine"
    assert LRRangeTest(at_epochs=[3, 0]).state_key == "LRRangeTest{'at_epochs': [0, 3]}"
