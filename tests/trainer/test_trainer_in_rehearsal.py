"""What a module finds in its Trainer during a test: loaders, loggers, and the metrics of a validation."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_lr import LRRangeTest, LRSearch, lr_range_test
from tests.helpers.lightning_classes import Callback, CSVLogger
from tests.helpers.tiny_models import Classifier, loader, quiet_trainer

pytestmark = pytest.mark.filterwarnings("ignore:.* is not confident")

ASKED: dict[str, Callable[[Any], object]] = {
    "number of batches": lambda trainer: len(trainer.train_dataloader),
    "dataset": lambda trainer: len(trainer.train_dataloader.dataset),
    "batch size": lambda trainer: trainer.train_dataloader.batch_size,
    "validation loader": lambda trainer: len(trainer.val_dataloaders),
    "validation batches": lambda trainer: trainer.num_val_batches[0],
    "folder of the logger": lambda trainer: os.fspath(trainer.logger.log_dir),
    "folder of the Trainer": lambda trainer: os.fspath(trainer.log_dir),
    "version": lambda trainer: (trainer.logger.name, trainer.logger.version),
}
FINDERS: dict[str, Callable[[], Callback]] = {
    "LRRangeTest": lambda: LRRangeTest(num_steps=25),
    "LRSearch": lambda: LRSearch(1e-3, 0.1, budget=300),
}
ANSWERS: list[object] = []  # a global, since a rehearsal restores the model


@pytest.mark.parametrize("finder", FINDERS)
@pytest.mark.parametrize("asked", ASKED)
def test_a_training_step_gets_the_same_answers(asked: str, finder: str, tmp_path: Path) -> None:
    class Asks(Classifier):
        def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
            ANSWERS.append(ASKED[asked](self.trainer))
            return super().training_step(batch, batch_idx)

    ANSWERS.clear()
    trainer = quiet_trainer(callbacks=[FINDERS[finder]()], logger=CSVLogger(tmp_path), max_epochs=1)
    trainer.fit(Asks(), loader(), loader(3))
    assert len(ANSWERS) > 50
    assert len(set(ANSWERS)) == 1


def test_a_test_before_fit_knows_the_folder_of_the_logger(tmp_path: Path) -> None:
    class Asks(Classifier):
        def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
            assert os.fspath(self.trainer.logger.log_dir).startswith(str(tmp_path))  # type: ignore[union-attr, arg-type]
            return super().training_step(batch, batch_idx)

    trainer = quiet_trainer(logger=CSVLogger(tmp_path), max_epochs=1)
    lr_range_test(trainer, Asks(), loader(), num_steps=25, verify=False)
    assert list(tmp_path.iterdir()) == []  # nothing was written


class PlateauByHand(Classifier):
    """Steps a scheduler on a metric of the validation at the end of each epoch, and collects its outputs."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.automatic_optimization = False
        self.outputs: list[Tensor] = []
        self.validations = 0

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        loss = super().training_step(batch, batch_idx)
        self.manual_backward(loss)
        optimizer.step()
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        loss = torch.nn.functional.cross_entropy(self.head(self.backbone(batch[0])), batch[1])
        self.outputs.append(loss)
        self.log("val_loss", loss)

    def on_validation_end(self) -> None:
        self.validations += not self.trainer.sanity_checking

    def on_train_epoch_end(self) -> None:
        scheduler: Any = self.lr_schedulers()
        scheduler.step(self.trainer.callback_metrics["val_loss"])
        assert torch.stack(self.outputs).isfinite().all()
        self.outputs.clear()

    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        return [optimizer], [torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)]


@pytest.mark.parametrize("sanity", [0, 2])
@pytest.mark.parametrize("finder", FINDERS)
def test_a_module_that_reads_its_validation_at_the_end_of_an_epoch_finds_it(finder: str, sanity: int) -> None:
    model, test = PlateauByHand(), FINDERS[finder]()
    quiet_trainer(callbacks=[test], num_sanity_val_steps=sanity).fit(model, loader(), loader(3))
    assert test.result is not None  # type: ignore[attr-defined]
    assert model.validations == 2  # those of the run: a rehearsal restores the count


def test_other_modules_have_no_validation_in_a_test() -> None:
    class Counts(Classifier):
        def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
            ANSWERS.append(batch_idx)

    ANSWERS.clear()
    quiet_trainer(callbacks=[LRRangeTest(num_steps=25)], num_sanity_val_steps=0).fit(Counts(), loader(), loader(3))
    assert ANSWERS == 2 * [0, 1, 2]
