"""The learning rate that was found, in the hyperparameters of loggers and checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from lightning_lr import LRRangeTest, LRSearch
from tests.helpers.lightning_classes import CSVLogger, Logger, TensorBoardLogger
from tests.helpers.lr_finder_runs import SHORT_SEARCH, fit
from tests.helpers.tiny_models import Classifier

pytestmark = pytest.mark.filterwarnings("ignore:LRRangeTest is not confident")


class Immutable(Logger):
    """Raises an error if a hyperparameter changes, as MLflow does."""

    name = "immutable"
    version = 0

    def __init__(self) -> None:
        super().__init__()
        self.params: dict[str, Any] = {}

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        for key, value in params.items():
            assert self.params.setdefault(key, value) == value

    def log_metrics(self, *args: Any, **kwargs: Any) -> None:
        pass


def hparams_records(board: TensorBoardLogger) -> int:
    """How often the event files begin a record of hyperparameters."""
    tags = [
        value.tag
        for path in Path(board.log_dir).glob("events.out.*")
        for event in EventFileLoader(str(path)).Load()
        for value in event.summary.value
    ]
    return tags.count("_hparams_/session_start_info")


def hparams_file(logger: TensorBoardLogger | CSVLogger) -> dict[str, Any]:
    text = (Path(logger.log_dir) / "hparams.yaml").read_text()
    return dict(yaml.safe_load(text))


@pytest.mark.parametrize(
    "finder",
    [
        lambda: LRSearch(**SHORT_SEARCH),
        lambda: LRRangeTest(num_steps=60, verify=False),
        lambda: LRRangeTest(num_steps=60, verify=False, at_epochs=(0, 1)),
    ],
)
def test_files_and_checkpoint_hold_the_rate_that_was_used(finder: Any, tmp_path: Path) -> None:
    board, table, immutable = TensorBoardLogger(tmp_path / "board"), CSVLogger(tmp_path / "table"), Immutable()
    callback = finder()
    trainer = fit(Classifier(), callback, logger=[board, table, immutable])
    found = {
        "found_lr": callback.result.lr,
        "found_base_lr": callback.result.base_lr,
        "found_max_lr": callback.result.max_lr,
    }
    for logger in (board, table):
        expected = {**found, "lr": callback.result.lr, "optimizer": "SGD"}
        assert {key: hparams_file(logger)[key] for key in expected} == pytest.approx(expected)
    assert hparams_records(board) == 1
    assert set(found) <= set(immutable.params)
    assert immutable.params["lr"] == 0.01
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert saved["hyper_parameters"]["lr"] == callback.result.lr


@pytest.mark.parametrize("finder", [lambda: LRSearch(**SHORT_SEARCH), lambda: LRRangeTest(num_steps=60, verify=False)])
def test_a_resumed_run_from_python_holds_it_too(finder: Any, tmp_path: Path) -> None:
    first = finder()
    fit(Classifier(), first, max_epochs=1).save_checkpoint(tmp_path / "first.ckpt")
    model, board, resumed = Classifier(), TensorBoardLogger(tmp_path), finder()
    assert model.hparams["lr"] == 0.01
    trainer = fit(model, resumed, logger=board, max_epochs=2, ckpt_path=tmp_path / "first.ckpt")
    trainer.save_checkpoint(tmp_path / "second.ckpt")
    assert resumed.result is not None
    assert resumed.result.lr == first.result.lr == model.hparams["lr"]
    assert torch.load(tmp_path / "second.ckpt", weights_only=True)["hyper_parameters"]["lr"] == first.result.lr
    assert [hparams_file(board)[key] for key in ("lr", "found_lr")] == pytest.approx([first.result.lr] * 2)
    assert hparams_records(board) == 1


def test_module_without_hyperparameters(tmp_path: Path) -> None:
    class Plain(Classifier):
        def save_hyperparameters(self, *args: Any, **kwargs: Any) -> None:
            Classifier.save_hyperparameters(self, logger=False)  # Lightning 2.5 takes a frame with super() for __init__

    class NoHyperparameters(Plain):
        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.01)

    board = TensorBoardLogger(tmp_path)
    search = LRSearch(**SHORT_SEARCH)
    fit(NoHyperparameters(), search, logger=board)
    assert search.result is not None
    assert hparams_file(board)["found_lr"] == pytest.approx(search.result.lr)
    assert hparams_records(board) == 0


def test_nothing_if_not_applied(tmp_path: Path) -> None:
    board = TensorBoardLogger(tmp_path)
    fit(Classifier(), LRSearch(**SHORT_SEARCH, apply=False), logger=board)
    assert hparams_file(board)["lr"] == 0.01
    assert "found_lr" not in hparams_file(board)
