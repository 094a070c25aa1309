"""What a range test or a search has found, in another fit of the same Trainer or after a fit that failed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_lr import HypergradientLR, LRRangeTest, LRSearch
from tests.helpers.tiny_models import Classifier, loader, quiet_trainer

pytestmark = pytest.mark.filterwarnings("ignore:.* is not confident")

FINDERS: dict[str, Callable[[], LRRangeTest | LRSearch]] = {
    "LRRangeTest": lambda: LRRangeTest(num_steps=25, verify=False),
    "LRSearch": lambda: LRSearch(1e-3, 0.1, budget=300),
}


class FixedLR(Classifier):
    """Its learning rate is no hyperparameter. Notes what each step used."""

    def __init__(self) -> None:
        super().__init__()
        self.used: list[float] = []

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        optimizer: Any = self.optimizers()
        self.used.append(optimizer.param_groups[0]["lr"])

    def configure_optimizers(self) -> Any:
        del self.hparams["lr"]
        self.configure_optimizers = lambda: torch.optim.SGD(self.parameters(), 0.01)  # type: ignore[method-assign]
        return self.configure_optimizers()


@pytest.mark.parametrize("finder", FINDERS)
def test_another_fit_goes_on_with_what_was_found(finder: str, caplog: pytest.LogCaptureFixture) -> None:
    model, test = FixedLR(), FINDERS[finder]()
    trainer = quiet_trainer(callbacks=[test], max_epochs=1)
    trainer.fit(model, loader())
    result = test.result
    trainer.fit_loop.max_epochs = 2
    with caplog.at_level("INFO"):
        trainer.fit(model, loader())
    assert result is not None
    assert test.result == result
    assert model.used == pytest.approx([result.lr] * 40)
    assert f"{finder} sets what it found in an earlier fit: lr={result.lr:.3g}." in caplog.text


def test_another_fit_leaves_a_learning_rate_that_was_set_on_the_module() -> None:
    model, test = Classifier(lr=0.02), FINDERS["LRRangeTest"]()
    trainer = quiet_trainer(callbacks=[test], max_epochs=1)
    trainer.fit(model, loader())
    model.hparams["lr"] = 0.003
    trainer.fit_loop.max_epochs = 2
    trainer.fit(model, loader())
    assert trainer.optimizers[0].param_groups[0]["lr"] == 0.003


def test_another_fit_sets_what_the_module_does_not_build_its_optimizer_from() -> None:
    class Fixed(Classifier):
        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 1e-4)  # although there is a hyperparameter lr

    model, test = Fixed(), FINDERS["LRRangeTest"]()
    trainer = quiet_trainer(callbacks=[test], max_epochs=1)
    for epochs in (1, 2):
        trainer.fit_loop.max_epochs = epochs
        trainer.fit(model, loader())
        assert test.result is not None
        assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(test.result.lr)


def test_another_fit_keeps_the_scale_of_an_adaptation() -> None:
    model, test, adaptation = FixedLR(), FINDERS["LRRangeTest"](), HypergradientLR(decay=None)
    trainer = quiet_trainer(callbacks=[test, adaptation], max_epochs=2)
    trainer.fit(model, loader())
    last = model.used[-1]
    trainer.fit_loop.max_epochs = 3
    trainer.fit(model, loader())
    assert model.used[40] == pytest.approx(last, rel=0.1)


class FailsBeforeTraining(Classifier):
    """Fails in the sanity check."""

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        raise RuntimeError("no validation today")


@pytest.mark.parametrize("finder", FINDERS)
def test_a_resume_that_fails_before_training_leaves_nothing(finder: str, tmp_path: Path) -> None:
    trainer = quiet_trainer(callbacks=[FINDERS[finder]()], max_epochs=1)
    trainer.fit(Classifier(lr=0.5), loader())
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    test, fresh = FINDERS[finder](), FINDERS[finder]()
    failing = quiet_trainer(callbacks=[test], max_epochs=2)
    with pytest.raises(RuntimeError, match="no validation today"):
        failing.fit(FailsBeforeTraining(), loader(), loader(3), ckpt_path=tmp_path / "run.ckpt")
    for each in (test, fresh):
        torch.manual_seed(1)
        quiet_trainer(callbacks=[each], max_epochs=1).fit(Classifier(optimizer="Adam"), loader(seed=3))
    assert test.result is not None
    assert fresh.result is not None
    assert test.result.lr == fresh.result.lr
