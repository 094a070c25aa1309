"""`lightning-lr` and `LRCLI`: what they print, write and return. Most run in this process, which is the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from lightning.pytorch.cli import LightningCLI
from matplotlib.image import imread

from lightning_lr import CyclicalLR, LRCurve, OneCycleLR, Suggestion, WarmupStableDecayLR
from lightning_lr.command_line import LRCLI
from lightning_lr.command_line.found_config import BOUNDS, fit_command
from lightning_lr.command_line.main import OVERVIEW, main
from tests.command_line.test_plain_cli import CLASSES, PROJECT, shell

CONFIG = ["-c", str(PROJECT / "config.yaml")]
MODEL = CLASSES.split()
FAST = ["--lr_range_test.verify=false", "--lr_range_test.num_steps=50"]
CYCLES = {"class_path": "lightning_lr.CyclicalLR", "init_args": {"step_size": "1ep"}}


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(PROJECT))
    monkeypatch.setattr(sys, "argv", sys.argv[:1])


def status(args: list[str]) -> int:
    """The exit status of a command."""
    try:
        main(args)
    except SystemExit as exit_:
        return int(exit_.code or 0)
    return 0


def test_range_test(capsys: pytest.CaptureFixture[str]) -> None:
    assert status(["lr_range_test", *CONFIG, *MODEL]) == 0
    written = json.loads(Path("lr_range_test.json").read_text())
    rows = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    assert rows["learning rate"].strip() == f"{written['lr']:.3g}"
    assert rows["confident"].strip() == "yes"
    assert rows["to train with it"].strip() == f"lightning-lr fit {' '.join([*CONFIG, *MODEL])} -c lr_found.yaml"
    assert LRCurve.from_csv("lr_range_test.csv").lrs.tolist() == written["curve"]["lrs"]
    assert imread("lr_range_test.png").std() > 0
    assert yaml.safe_load(Path("lr_found.yaml").read_text()) == {"model": {"lr": written["lr"]}}
    assert len(written["search"]["candidates"]) >= 3


def test_search_prints_the_result_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """Also with a progress bar and the leaderboard."""
    args = ["lr_search", *CONFIG, *MODEL, "--trainer.enable_progress_bar=true", "--json"]
    assert status([*args, "--lr_search.min_lr=1e-3", "--lr_search.max_lr=1", "--lr_search.output_dir=found"]) == 0
    shown = capsys.readouterr()
    assert shown.out == Path("found/lr_search.json").read_text()
    assert "LR search: loss of" in shown.err
    assert json.loads(shown.out)["arguments"]["max_lr"] == 1.0


def test_what_a_constructor_prints_is_not_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    Path("prints.py").write_text(
        "from plain_model import Net\nclass Prints(Net):\n    def __init__(self, lr: float = 0.1):\n"
        "        super().__init__(lr)\n        print('from the constructor')\n"
    )
    args = ["lr_range_test", "--model=prints.Prints", "--data=plain_model.Data", "--trainer.max_epochs=3", *FAST]
    assert status([*args, "--trainer.accelerator=cpu", "--seed_everything=1", "--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["lr"] > 0
    assert "from the constructor" in shown.err


def test_a_rule_by_its_name() -> None:
    assert status(["lr_range_test", *CONFIG, *MODEL, *FAST, "--lr_range_test.rule=smith"]) == 0
    assert json.loads(Path("lr_range_test.json").read_text())["rule"] == "smith"


@pytest.mark.filterwarnings("ignore:LRRangeTest is not confident")
def test_a_result_that_is_not_confident(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The status says so, the reasons are printed, and nothing is written if nothing is asked for."""
    flat = ["--lr_range_test.max_lr=1e-6", "--lr_range_test.mode=linear", "--lr_range_test.output_dir=null"]
    assert status(["lr_range_test", *CONFIG, *MODEL, *FAST, *flat]) == 3
    shown = capsys.readouterr().out
    assert "confident          no\n" in shown
    assert "(at least 20 % is needed)" in shown
    assert list(tmp_path.iterdir()) == []


def test_schedules_get_bounds_and_are_trained_with_them() -> None:
    """The next command needs no test, although the config names one."""
    trainer = {"callbacks": ["lightning_lr.LRRangeTest", CYCLES, {"class_path": "lightning_lr.LRTrace"}]}
    Path("cycles.yaml").write_text(yaml.safe_dump({"trainer": trainer}))
    configs = [*CONFIG, "-c", "cycles.yaml"]
    assert status(["lr_range_test", *configs, *MODEL, *FAST]) == 0
    written = json.loads(Path("lr_range_test.json").read_text())
    cli = LightningCLI(args=["fit", *MODEL, *configs, "-c", "lr_found.yaml"], save_config_callback=None)
    cycles = next(callback for callback in vars(cli.trainer)["callbacks"] if isinstance(callback, CyclicalLR))
    names = [type(callback).__name__ for callback in vars(cli.trainer)["callbacks"]]
    assert "LRTrace" in names
    assert "LRRangeTest" not in names
    arguments = cycles.state_dict()["arguments"]
    assert (arguments["base_lr"], arguments["max_lr"]) == (written["base_lr"], written["max_lr"])
    assert cli.model.lr == written["lr"]


@pytest.mark.parametrize(
    ("args", "command"),
    [
        (
            ["lr_search", "--model", "my.Net", "--lr_search.budget", "900", "--json", "--model.width=3"],
            "lightning-lr fit --model my.Net --model.width=3 -c lr_found.yaml",
        ),
        (
            ["-c", "my config.yaml", "lr_search", "--lr_search.max_lr=1", "--lr_search", "s.yaml"],
            "lightning-lr -c 'my config.yaml' fit -c lr_found.yaml",
        ),
    ],
)
def test_the_next_command_has_the_arguments_of_this_one(args: list[str], command: str) -> None:
    assert fit_command("lightning-lr", "lr_search", args, Path("lr_found.yaml")) == command


@pytest.mark.parametrize("schedule", [CyclicalLR(step_size=5), OneCycleLR(), WarmupStableDecayLR()])
def test_bounds_in_a_config_are_those_of_a_run(schedule: Any) -> None:
    suggestion = Suggestion(0.1, 0.2, 0.3, 0.4, True, ())
    fields = BOUNDS[type(schedule).__name__]
    found = type(schedule)(**{name: getattr(suggestion, field) for name, field in fields.items()}, **_lengths(schedule))
    schedule.set_bounds_from(suggestion)
    np.testing.assert_array_equal(found.preview(20).lr, schedule.preview(20).lr)


def _lengths(schedule: Any) -> dict[str, Any]:
    return {"step_size": 5} if isinstance(schedule, CyclicalLR) else {}


def test_a_model_without_an_option_is_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    Path("no_option.py").write_text(
        "from plain_model import Net\nclass Fixed(Net):\n    def __init__(self):\n        super().__init__()\n"
    )
    Path("lr_found.yaml").write_text("model: {lr: 1.0}")  # of an earlier test, of another model
    args = ["lr_range_test", "--model=no_option.Fixed", "--data=plain_model.Data", "--seed_everything=1"]
    assert status([*args, "--trainer.accelerator=cpu", "--trainer.max_epochs=3", "--lr_range_test.num_steps=50"]) == 4
    assert "give the model an argument lr" in capsys.readouterr().err
    assert not Path("lr_found.yaml").exists()
    unsure = ["--lr_range_test.num_steps=10", "--lr_range_test.verify=false", "--lr_range_test.max_lr=1e-6"]
    with pytest.warns(UserWarning, match="not confident"):
        assert status([*args, "--trainer.accelerator=cpu", "--trainer.max_epochs=3", *unsure]) == 3
    assert "give the model an argument lr" in capsys.readouterr().err


def test_a_config_that_cannot_be_written_has_a_status_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write = Path.write_text

    def write_to_a_full_disk(path: Path, text: str) -> int:
        if path.name.endswith("lr_found.yaml"):
            raise OSError("No space left on device")
        return write(path, text)

    monkeypatch.setattr(Path, "write_text", write_to_a_full_disk)
    with pytest.warns(UserWarning, match=r"lr_found\.yaml could not be written"):
        assert status(["lr_range_test", *CONFIG, *MODEL, "--lr_range_test.num_steps=50"]) == 4
    assert "lr_found.yaml was not written" in capsys.readouterr().err


def test_the_users_own_error_is_left_alone_and_no_older_config_stays() -> None:
    Path("lr_found.yaml").write_text("model: {lr: 1.0}")
    with pytest.raises(RuntimeError, match="the user's own error"):  # Python exits with status 1
        main(["lr_range_test", *CONFIG, "--model=plain_model.Broken", "--data=plain_model.Data"])
    assert not Path("lr_found.yaml").exists()


def test_a_script_can_link_arguments_and_use_all_subcommands_with_one_config(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from plain_model import Data, Net

    class Linked(LRCLI):
        def add_arguments_to_parser(self, parser: Any) -> None:
            parser.link_arguments("model.lr", "trainer.callbacks.init_args.max_lr")

    trainer = {"callbacks": [{**CYCLES, "init_args": {"step_size": 20, "base_lr": 0.001}}], "max_steps": 2}
    sections = {"model": {"lr": 0.3}, "lr_range_test": {"num_steps": 50, "verify": False, "output_dir": None}}
    Path("linked.yaml").write_text(yaml.safe_dump({"trainer": trainer, **sections}))
    configs = [*CONFIG, "-c", "linked.yaml"]
    found = Linked(Net, Data, args=["lr_range_test", *configs])
    assert found.result is not None
    assert f"{found.result.lr:.3g}" in capsys.readouterr().out
    fitted = Linked(Net, Data, args=["fit", *configs, "--trainer.logger=false"], save_config_callback=None)
    assert fitted.result is None
    cycles = next(callback for callback in vars(fitted.trainer)["callbacks"] if isinstance(callback, CyclicalLR))
    assert cycles.state_dict()["arguments"]["max_lr"] == 0.3
    assert fitted.trainer.global_step == 2


@pytest.mark.filterwarnings("ignore:.*will be overridden by `LRCLI.configure_optimizers`")
def test_the_config_holds_what_the_callback_would_set_for_the_schedule(capsys: pytest.CaptureFixture[str]) -> None:
    """A schedule that falls to 0 gets twice the constant learning rate."""
    from plain_model import Data, Net

    schedule = ["--optimizer=SGD", "--lr_scheduler=CosineAnnealingLR", "--lr_scheduler.T_max=3"]
    found = LRCLI(Net, Data, args=["lr_range_test", *CONFIG, *schedule, *FAST], save_config_callback=None)
    lr = yaml.safe_load(Path("lr_found.yaml").read_text())["optimizer"]["lr"]
    assert found.result is not None
    assert lr == found.result.decay_lr > found.result.lr
    assert f"for this schedule  {lr:.3g}\n" in capsys.readouterr().out
    test = ["--trainer.callbacks+=LRRangeTest", "--trainer.callbacks.verify=false", "--trainer.callbacks.num_steps=50"]
    fitted = LRCLI(Net, Data, args=["fit", *CONFIG, *schedule, *test, "--trainer.logger=false"])
    assert fitted.model.lr == lr


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_config_that_a_test_prints_fits_the_other_subcommands(
    more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(["lr_range_test", *CONFIG, *MODEL, *more, "--print_config"]) == 0
    printed = capsys.readouterr().out
    assert ("json" in yaml.safe_load(printed)) == bool(more)  # as few scripts as can be have to remove it
    Path("printed.yaml").write_text(printed)
    for subcommand in ("fit", "validate", "test", "predict", "lr_search"):
        assert status([subcommand, "-c", "printed.yaml", "--print_config"]) == 0
    main(["fit", "-c", "printed.yaml", "--trainer.max_steps=2", "--trainer.logger=false"])


def test_a_config_before_the_subcommand_beside_classes(capsys: pytest.CaptureFixture[str]) -> None:
    """It has a section for each subcommand. The model of the options takes the place of that of the config."""
    trainer = {"max_epochs": 3, "accelerator": "cpu"}
    of_test = {"trainer": trainer, "model": {"class_path": "plain_model.Broken"}, "seed_everything": 1}
    Path("all.yaml").write_text(yaml.safe_dump({"lr_range_test": of_test}))
    assert status(["-c", "all.yaml", "lr_range_test", *MODEL, *FAST]) == 0
    assert f"lightning-lr -c all.yaml fit {' '.join(MODEL)} -c lr_found.yaml" in capsys.readouterr().out


def test_optimizer_of_the_command_line_environment_and_printed_config(tmp_path: Path) -> None:
    """The printed config holds all three, and gives the same result as the options."""
    sweep = f"python -m lightning_lr lr_range_test {' '.join(MODEL + FAST)}"
    options = f"-c {PROJECT}/config.yaml --optimizer=SGD --optimizer.momentum=0.5 --lr_scheduler=StepLR"
    script = (
        f"{sweep} {options} --lr_scheduler.step_size=3 --print_config > printed.yaml && {sweep} -c printed.yaml --json"
    )
    done = shell(
        script, tmp_path, PL_LR_RANGE_TEST__DATA__INIT_ARGS__BATCH_SIZE="16", PL_LR_RANGE_TEST__TRAINER__MAX_EPOCHS="5"
    )
    assert done.returncode in (0, 3), done.stderr[-2000:]
    result = json.loads(done.stdout)
    printed = yaml.safe_load((tmp_path / "printed.yaml").read_text())
    assert printed["optimizer"]["init_args"]["momentum"] == 0.5
    assert printed["lr_scheduler"]["init_args"]["step_size"] == 3
    assert yaml.safe_load((tmp_path / "lr_found.yaml").read_text()) == {"optimizer": {"lr": result["decay_lr"]}}


def test_overview_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    assert capsys.readouterr().out == OVERVIEW
    main(["--version"])
    assert capsys.readouterr().out.startswith("lightning_lr 0.")


def test_without_the_extra_it_says_what_to_install_and_the_package_imports_without_it_and_without_a_warning() -> None:
    code = (
        "import lightning.pytorch, sys, warnings; warnings.simplefilter('error');"  # Lightning's own are not meant
        "import lightning_lr; warnings.resetwarnings();"
        "assert not {'jsonargparse', 'lightning_lr.command_line'} & set(sys.modules);"
        "sys.modules['jsonargparse'] = None; from lightning_lr.command_line.main import main; main(['fit'])"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith('lightning-lr: jsonargparse is missing: pip install "lightning_lr[cli]"\n')
