"""How to keep a learning rate that was found: only by what the run that is going on has."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from lightning_lr import CyclicalLR, LRSearch
from lightning_lr.search.result import SearchResult
from tests.helpers.lightning_classes import LightningCLI, LightningDataModule
from tests.helpers.lr_finder_runs import SHORT_SEARCH, fit
from tests.helpers.tiny_models import Classifier, loader


class Data(LightningDataModule):
    def train_dataloader(self) -> Any:
        return loader()


class Unnamed(Classifier):
    """Its learning rate is no argument."""

    def __init__(self) -> None:
        super().__init__()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.01)


class TakesLR(Classifier):
    def __init__(self, lr: float = 0.01) -> None:
        super().__init__()
        self.lr = lr

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), self.lr)


def advice(capture: pytest.LogCaptureFixture) -> str | None:
    """What the sentence after the search says, None if it does not say how to keep the learning rate."""
    [line] = [record.getMessage() for record in capture.records if "LRSearch found" in record.getMessage()]
    _, _, rest = line.partition(". Set: ")
    assert rest
    return rest.partition(" To keep it for good: ")[2] or None


def run_cli(model: Any, folder: Path, *args: str, **kwargs: Any) -> SearchResult:
    search = LRSearch(**SHORT_SEARCH)
    defaults = {
        "callbacks": [search],
        "logger": False,
        "accelerator": "cpu",
        "max_epochs": 1,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "default_root_dir": str(folder),
    }
    LightningCLI(model, Data, args=["fit", *args], trainer_defaults=defaults, **kwargs)
    assert search.result is not None
    return search.result


@pytest.fixture(autouse=True)
def _setup(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(sys, "argv", sys.argv[:1])  # LightningCLI warns if it has arguments


def test_python(caplog: pytest.LogCaptureFixture) -> None:
    search = LRSearch(**SHORT_SEARCH)
    fit(Classifier(), search)
    assert search.result is not None
    assert advice(caplog) == f"lr={search.result.lr:.3g}"


def test_python_with_a_schedule(caplog: pytest.LogCaptureFixture) -> None:
    fit(Classifier(), LRSearch(**SHORT_SEARCH), CyclicalLR(step_size=5))
    assert str(advice(caplog)).startswith("CyclicalLR(base_lr=")


@pytest.mark.filterwarnings("ignore:LRSearch is not confident")
@pytest.mark.filterwarnings("ignore:.*will be overridden by `LightningCLI.configure_optimizers`")
@pytest.mark.parametrize(
    ("model", "args", "kwargs", "option"),
    [
        (TakesLR, [], {}, "model.lr"),
        (TakesLR, ["--model=TakesLR"], {"subclass_mode_model": True}, "model.init_args.lr"),
        (TakesLR, ["--optimizer=SGD", "--optimizer.lr=0.01"], {}, "optimizer.init_args.lr"),
        (Unnamed, [], {}, None),
    ],
)
def test_lightning_cli_names_an_option_that_it_has(
    model: Any,
    args: list[str],
    kwargs: dict[str, Any],
    option: str | None,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    lr = run_cli(model, tmp_path / "first", *args, **kwargs).lr
    said = advice(caplog)
    assert said == (None if option is None else f"--{option}={lr:.3g}")
    if said is not None:
        run_cli(model, tmp_path / "second", *args, said, **kwargs)  # the option exists


@pytest.mark.filterwarnings("ignore:LRSearch is not confident")
@pytest.mark.filterwarnings("ignore:.*will be overridden by `LightningCLI.configure_optimizers`")
def test_lightning_cli_names_the_option_for_a_schedule_that_falls_to_0(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    args = ["--optimizer=SGD", "--lr_scheduler=CosineAnnealingLR", "--lr_scheduler.T_max=1"]
    result = run_cli(TakesLR, tmp_path, *args)
    assert advice(caplog) == f"--optimizer.init_args.lr={result.decay_lr:.3g}"


def test_hydra_gets_no_advice(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    class HydraConfig:
        @staticmethod
        def initialized() -> bool:
            return True

    config = ModuleType("hydra.core.hydra_config")
    config.HydraConfig = HydraConfig  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, config.__name__, config)
    fit(Classifier(), LRSearch(**SHORT_SEARCH))
    assert advice(caplog) is None
