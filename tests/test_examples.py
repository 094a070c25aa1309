"""Run the commands of the README, and the examples with each YAML file, as a user would."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = [
    line for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL) for line in block.splitlines() if line
]
CONFIGS = sorted((ROOT / "examples").glob("*.yaml"))


def _run(command: str, folder: Path, *more: str) -> str:
    """Run a command of the README from an empty folder; paths of examples are taken from the repository."""
    words = shlex.split(command)
    assert words[0] == "python"
    words = [sys.executable, *(str(ROOT / word) if word.startswith("examples/") else word for word in words[1:]), *more]
    done = subprocess.run(
        words, cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "200"}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def test_the_readme_has_a_command_with_and_without_yaml() -> None:
    assert any("--trainer.callbacks+=lightning_lr.LRRangeTest" in command for command in COMMANDS)
    assert any("-c examples/range_test_then_cycles.yaml" in command for command in COMMANDS)


def test_preview_of_the_readme(tmp_path: Path) -> None:
    (command,) = (command for command in COMMANDS if " preview " in command)
    assert _run(command, tmp_path) == "CyclicalLR over 12 epochs: preview.png\n"
    assert (tmp_path / "preview.png").is_file()


@pytest.mark.parametrize("command", [command for command in COMMANDS if " fit " in command])
def test_commands_of_the_readme(command: str, tmp_path: Path) -> None:
    output = _run(command, tmp_path)
    assert re.search(r"LRRangeTest found lr=0\.\d+ \(confident\); 0\.\d+ with a decay to 0; cycle bounds", output)
    assert list(tmp_path.rglob("events.out.tfevents*"))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_example_with_each_yaml_file(config: Path, tmp_path: Path) -> None:
    _run(f"python examples/train.py fit -c examples/{config.name}", tmp_path, "--trainer.max_epochs=4")


def test_demo(tmp_path: Path) -> None:
    output = _run("python examples/demo.py", tmp_path)
    reached = [float(share) for share in re.findall(r"([\d.]+)% (?:with|at)", output)]
    assert len(reached) == 2
    assert reached[0] > 97 > reached[1]
    assert "tensorboard --logdir" in output
    assert (tmp_path / "demo_logs" / "lr_range_test.png").is_file()
