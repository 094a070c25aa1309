"""The command line with a module of ``pytorch_lightning``: in a script, and without one."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning
import yaml

from lightning_lr.command_line import pytorch_lightning as other
from lightning_lr.command_line.any_model import _cli_of, _model_of
from lightning_lr.command_line.lr_cli import LRCLI
from lightning_lr.command_line.main import main
from tests.command_line.test_plain_cli import PROJECT

FAST = ["--lr_range_test.verify=false", "--lr_range_test.num_steps=50"]


@pytest.fixture(autouse=True)
def _in_a_project_of_pytorch_lightning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = (PROJECT / "plain_model.py").read_text().replace("lightning.pytorch", "pytorch_lightning")
    (tmp_path / "other_model.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "argv", sys.argv[:1])
    monkeypatch.delitem(sys.modules, "other_model", raising=False)


def test_without_a_script_the_package_is_that_of_the_model() -> None:
    model = {"class_path": "other_model.Net", "init_args": {"hidden": 16}}
    trainer = {"max_epochs": 3, "accelerator": "cpu", "callbacks": [{"class_path": "lightning_lr.LRTrace"}]}
    config = {"seed_everything": 1, "trainer": trainer, "model": model, "data": {"class_path": "other_model.Data"}}
    Path("config.yaml").write_text(yaml.safe_dump(config))
    main(["lr_range_test", "-c", "config.yaml", *FAST])
    found = yaml.safe_load(Path("lr_found.yaml").read_text())
    assert found["model"]["lr"] > 0.01
    main(["fit", "-c", "config.yaml", "-c", "lr_found.yaml", "--trainer.max_steps=2"])
    assert list(Path().rglob("*.ckpt"))


@pytest.mark.parametrize("is_before", [True, False])
def test_the_model_of_a_config_is_found_before_the_subcommand_and_beside_the_options_of_the_test(
    is_before: bool,
) -> None:
    config: dict[str, Any] = {"model": {"class_path": "other_model.Net"}, "lr_range_test": {"num_steps": 50}}
    Path("config.yaml").write_text(yaml.safe_dump({"lr_range_test": config} if is_before else config))
    args = ["-c", "config.yaml", "lr_range_test"] if is_before else ["lr_range_test", "-c", "config.yaml"]
    assert _model_of(args) == "other_model.Net"


def test_a_script() -> None:
    other_model = importlib.import_module("other_model")
    args: Any = ["lr_range_test", "--trainer.max_epochs=3", "--trainer.accelerator=cpu", "--seed_everything=1", *FAST]
    cli = other.LRCLI(other_model.Net, other_model.Data, args=args)
    assert cli.result is not None
    assert isinstance(cli.trainer, pytorch_lightning.Trainer)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--trainer.max_epochs=x"], "trainer.max_epochs: must be int or null, got x."),
        (["--trainer.callbacks+=LRSearch", "--trainer.callbacks.budget=x"], "budget must be int or null, got x."),
        (["--data=nowhere.Data"], "data: nowhere.Data: No module named 'nowhere'"),
    ],
)
def test_errors_are_as_short(args: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["lr_range_test", "--model=other_model.Net", *args])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("model", ["", "Net", "nowhere.Net", "other_model.Nothing", "other_model.torch"])
def test_what_is_no_model_is_left_to_the_command_line(model: str) -> None:
    assert _cli_of(model) is LRCLI
