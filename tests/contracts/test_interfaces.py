"""What every public callback supports: YAML, pickle, checkpoints, each logger or none."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import lightning_lr
from tests.helpers.chosen_device import ACCELERATOR
from tests.helpers.lightning_classes import (
    BoringModel,
    Callback,
    CSVLogger,
    LightningCLI,
    Logger,
    TensorBoardLogger,
)
from tests.helpers.tiny_models import Classifier, loader, quiet_trainer

pytestmark = [
    pytest.mark.filterwarnings("ignore:LRRangeTest is not confident"),
    pytest.mark.filterwarnings("ignore:.*lr_scheduler.step.*before.*optimizer.step.*"),
]

# The arguments of each public callback, as in a YAML file.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "LRRangeTest": {"num_steps": 20, "min_lr": 1e-5, "lrs": None, "at_epochs": [0], "rule": "dual"},
    "CyclicalLR": {"base_lr": [0.01], "max_lr": 0.1, "step_size": "1ep", "scale_fn": "math.sqrt", "warmup": 3},
    "LRSearch": {"min_lr": 1e-3, "max_lr": 10.0, "budget": 700, "limit_batches": 0.5, "monitor": None},
    "HypergradientLR": {"horizon": "0.5run", "every": 2, "per_group": True, "max_lr": 1.0, "decay": "0.3run"},
    "LRTrace": {},
    "OneCycleLR": {"max_lr": {"pg1": 0.1}, "total_steps": "0.9run", "momentum": [0.85, 0.95]},
    "WarmupStableDecayLR": {"max_lr": 0.1, "warmup": 5, "decay": "0.3run"},
}
LOGGERS: dict[str, Callable[[Path], list[Logger]]] = {
    "none": lambda path: [],  # noqa: ARG005
    "csv": lambda path: [CSVLogger(path)],
    "tensorboard": lambda path: [TensorBoardLogger(path)],
    "both": lambda path: [CSVLogger(path), TensorBoardLogger(path)],
}


def _public_callbacks() -> set[str]:
    public = {name: getattr(lightning_lr, name) for name in lightning_lr.__all__}
    return {name for name, value in public.items() if isinstance(value, type) and issubclass(value, Callback)}


def _build(name: str) -> Any:
    return getattr(lightning_lr, name)(**ARGUMENTS[name])


def test_every_public_callback_has_arguments_here() -> None:
    assert _public_callbacks() == ARGUMENTS.keys()


@pytest.mark.parametrize("name", ARGUMENTS)
def test_yaml_round_trip(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A config builds the callback, and the config that Lightning saves builds an equal one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["train.py"])
    config = {"class_path": f"lightning_lr.{name}", "init_args": ARGUMENTS[name]}
    trainer = {"callbacks": [config], "logger": False, "accelerator": ACCELERATOR, "enable_checkpointing": False}
    cli = LightningCLI(
        BoringModel, args={"trainer": trainer}, run=False, save_config_callback=None, seed_everything_default=1
    )
    saved = yaml.safe_load(cli.parser.dump(cli.config))
    again = LightningCLI(BoringModel, args=saved, run=False, save_config_callback=None, seed_everything_default=1)
    kinds = [type(callback).__name__ for callback in vars(again.trainer)["callbacks"]]
    assert name in kinds
    (first,) = (c for c in vars(cli.trainer)["callbacks"] if type(c).__name__ == name)
    (second,) = (c for c in vars(again.trainer)["callbacks"] if type(c).__name__ == name)
    assert first.state_dict() == second.state_dict()
    assert saved["trainer"]["callbacks"][0]["class_path"] == f"lightning_lr.{name}"


@pytest.mark.parametrize("name", ARGUMENTS)
def test_pickle_before_and_after_a_run(name: str) -> None:
    callback = _build(name)
    assert type(pickle.loads(pickle.dumps(callback))) is type(callback)
    quiet_trainer(callbacks=[callback]).fit(Classifier(), loader())
    restored = pickle.loads(pickle.dumps(callback))
    assert restored.state_key == callback.state_key
    assert _plain(restored.state_dict()) == _plain(callback.state_dict())


def _plain(state: Any) -> str:
    return json.dumps(state, default=lambda tensor: tensor.tolist())


@pytest.mark.parametrize("name", ARGUMENTS)
def test_state_survives_a_checkpoint_loaded_with_weights_only(name: str, tmp_path: Path) -> None:
    callback = _build(name)
    trainer = quiet_trainer(callbacks=[callback])
    trainer.fit(Classifier(), loader())
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    callbacks = torch.load(tmp_path / "run.ckpt", weights_only=True)["callbacks"]
    state = callback.state_dict()
    if state:
        loaded = _build(name)
        loaded.load_state_dict(callbacks[callback.state_key])
        assert _plain(loaded.state_dict()) == _plain(state)


@pytest.mark.parametrize("loggers", LOGGERS)
@pytest.mark.parametrize("name", ARGUMENTS)
def test_every_logger(name: str, loggers: str, tmp_path: Path) -> None:
    trainer = quiet_trainer(callbacks=[_build(name)], logger=LOGGERS[loggers](tmp_path), log_every_n_steps=5)
    trainer.fit(Classifier(), loader())
    for logger in trainer.loggers:
        logger.finalize("success")
        if isinstance(logger, CSVLogger):
            header = (Path(logger.log_dir) / "metrics.csv").read_text().splitlines()[0]
            assert "lr/SGD" in header.split(",")
