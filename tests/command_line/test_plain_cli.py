"""A project that knows nothing of this package: what it gets by flags alone, and from a shell script."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.helpers.preloaded_python import preloaded_path

PROJECT = Path(__file__).parents[1] / "projects" / "plain_cli"
ROOT = Path(__file__).parents[2]
CLASSES = "--model=plain_model.Net --data=plain_model.Data"
SWEEP = f"python -m lightning_lr lr_range_test -c {PROJECT}/config.yaml {CLASSES}"


def shell(script: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a script with the project and this package on the path of Python."""
    environment = {
        **os.environ,
        "PATH": f"{preloaded_path()}:{os.environ['PATH']}",
        "PYTHONPATH": f"{PROJECT}:{ROOT}",
        "COLUMNS": "200",
        **variables,
    }
    return subprocess.run(
        ["sh", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            "--trainer.callbacks+=lightning_lr.LRRangeTest --trainer.callbacks.num_steps=50"
            " --trainer.callbacks+=lightning_lr.CyclicalLR --trainer.callbacks.step_size=1ep",
            "Set: CyclicalLR, model.lr.",
        ),
        ("--trainer.callbacks+=lightning_lr.HypergradientLR", "To see learning rates and losses"),
    ],
    ids=["range test, then cycles", "adaptation"],
)
def test_flags_alone(flags: str, said: str, tmp_path: Path) -> None:
    done = shell(f"python {PROJECT}/plain_train.py fit -c {PROJECT}/config.yaml {flags}", tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert said in done.stdout + done.stderr


def test_a_script_uses_the_exit_status(tmp_path: Path) -> None:
    """It trains with what was found if that is confident. The config of the script fits both commands."""
    train = f"python {PROJECT}/plain_train.py fit -c {PROJECT}/config.yaml -c lr_found.yaml"
    done = shell(f"if {SWEEP}; then {train} && echo trained; else echo not trained; fi", tmp_path)
    assert done.stdout.endswith("trained\n"), done.stderr[-2000:]
    assert "not trained" not in done.stdout
    found = yaml.safe_load((tmp_path / "lr_found.yaml").read_text())
    (used,) = tmp_path.rglob("config.yaml")
    assert found["model"] == {"lr": yaml.safe_load(used.read_text())["model"]["lr"]}
