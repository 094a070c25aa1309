"""What the command line says where an option is wrong, a setting cannot be tested, or a constructor fails."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from lightning_lr.command_line.main import OVERVIEW, main
from tests.command_line.test_lr_cli import CONFIG, MODEL, status
from tests.command_line.test_plain_cli import PROJECT


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(PROJECT))
    monkeypatch.setattr(sys, "argv", sys.argv[:1])


class FailsToBuild(LightningModule):
    """A model whose constructor fails."""

    def __init__(self, hidden: int = 16) -> None:
        raise AttributeError("the constructor's own error")


def test_an_error_of_a_constructor_is_shown_as_itself() -> None:
    with pytest.raises(AttributeError, match="the constructor's own error") as caught:
        main(["lr_range_test", *CONFIG, f"--model={__name__}.FailsToBuild", "--data=plain_model.Data"])
    assert caught.value.__suppress_context__  # not followed by a list of types of jsonargparse


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--model.lr=0"], "No parameter group has a learning rate above 0"),
        (["--lr_range_test.monitor=val_los"], "LRRangeTest(monitor='val_los'): the training step does not log it"),
        (["--trainer.max_epochs=0"], "The Trainer ended before training began"),
        (["--trainer.limit_train_batches=-1"], "You have passed invalid value -1"),  # Lightning's own
        (["--trainer.accelerator=abacus"], "You selected an invalid accelerator name"),
        (["--trainer.devices=-2"], "`devices` selected with `CPUAccelerator` should be an int > 0"),
        (["--trainer.accumulate_grad_batches=0"], "Trainer(accumulate_grad_batches) must be at least 1, got 0."),
        (["--trainer.val_check_interval=1000"], "`val_check_interval` (1000) must be less than or equal"),
        (["--trainer.fast_dev_run=true"], "LRRangeTest needs full training"),
    ],
)
@pytest.mark.filterwarnings("ignore:`Trainer.fit` stopped")
def test_what_cannot_be_tested_is_said_in_one_line(
    args: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(["lr_range_test", *CONFIG, *MODEL, *args]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"lightning-lr lr_range_test: {message}")


def test_a_wrong_environment_variable_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LIGHTNING_LR", "Trace")
    assert status(["fit", *CONFIG, *MODEL]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "lightning-lr fit: The environment variable LIGHTNING_LR must be trace or not set, got 'Trace'."


class LogsNested(LightningModule):
    """A model whose training step logs what Lightning refuses."""

    def __init__(self, hidden: int = 16) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(6, 3)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        self.log("of a", {"dictionary": 1.0})  # type: ignore[arg-type]
        return torch.nn.functional.cross_entropy(self.layer(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def test_what_lightning_refuses_in_a_hook_keeps_its_traceback() -> None:
    with pytest.raises(ValueError, match="`dict` values cannot be logged"):
        main(["lr_range_test", *CONFIG, f"--model={__name__}.LogsNested", "--data=plain_model.Data"])


def test_an_unknown_command_is_answered_with_all_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert status(["lr_test"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("lightning-lr: COMMAND must be one of lr_range_test, lr_search, fit,")
    assert said.endswith(" preview, got lr_test.\n")
    for name in said.partition("one of ")[2].partition(", got")[0].split(", "):
        assert name in OVERVIEW


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--nope=1"], "unrecognized arguments: --nope=1"),
        (["--model.nope=1"], "model: plain_model.Net: it has no argument nope."),
        (["--model=nowhere.Net"], "model: nowhere.Net: No module named 'nowhere'"),
        (["--trainer.max_epochs=x"], "trainer.max_epochs: must be int or null, got x."),
        (["--trainer.precision=7"], "trainer.precision: must be one of 64, 32, 16, transformer-engine,"),
        (["--trainer.precision=7"], "64-true, bf16, got 7."),
        (["-c", "missing.yaml"], "config: File does not exist"),
        (["--lr_search.budget=x"], "lr_search.budget: must be int or null, got x."),
        (["--lr_range_test.rule=zigzag"], "lr_range_test.rule: must be one of dual, smith, minimum, valley, slide"),
        (["--lr_range_test.num_steps=3"], "num_steps must give at least 10 learning rates"),
        (
            ["--lr_range_test.output_dir=/dev/null/x"],
            "output_dir must be a folder that can be written to, got /dev/null/x",
        ),
        (["--ckpt_path=last.ckpt"], "ckpt_path"),
        (["--trainer.callbacks+=lrrangetest"], "no class lrrangetest is known: did you mean lightning_lr.LRRangeTest?"),
        (["--trainer.callbacks+=Other"], "no class Other is known: give its full path"),
        (["--trainer.callbacks+=lightning_lr.CyclicLR"], "CyclicLR is known: did you mean lightning_lr.CyclicalLR?"),
        (["--optimizer=Adan"], "no class Adan is known: did you mean torch.optim.Adam?"),
        (["--model=pathlib.Path"], "must be a LightningModule of the package of the Trainer"),
        (
            ["--trainer.callbacks+=LRTrace", "--trainer.callbacks.nope=1"],
            "lightning_lr.LRTrace: it has no argument nope",
        ),
        (["--trainer.callbacks+=LRSearch", "--trainer.callbacks.snapshot=disk"], "snapshot must be one of device, cpu"),
        (["--trainer.callbacks+=LRSearch", "--trainer.callbacks.budget=x"], "budget must be int or null, got x."),
        (
            ["--trainer.callbacks+=CyclicalLR", "--trainer.callbacks.step_size=3x"],
            "step_size must be a whole number of steps",
        ),
        (["--trainer.callbacks+=LRRangeTest", "--trainer.callbacks.num_steps=3"], "num_steps must give at least 10"),
    ],
)
def test_bad_arguments(args: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(["lr_range_test", *CONFIG, *MODEL, *args]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("Seed set")]
    assert message in "\n".join(lines)
    assert len(lines) <= 3
    assert lines[0].startswith("lightning-lr lr_range_test: ")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["lr_range_test"], "required: --model."),
        (["lr_range_test", *CONFIG], "model: its class is not known: name it by --model my_package.MyModule."),
        (
            ["lr_range_test", *CONFIG, MODEL[0]],
            "data: its class is not known: name it by --data my_package.MyDataModule.",
        ),
        (["fitt"], "preview, got fitt"),
    ],
)
def test_incomplete_commands(args: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(args) == 2
    assert message in capsys.readouterr().err
