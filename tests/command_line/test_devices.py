"""The command line with two devices: Lightning starts it once more for the second one."""

from __future__ import annotations

import json
from pathlib import Path

from tests.command_line.test_plain_cli import CLASSES, PROJECT, shell

TWO = f"-c {PROJECT}/config.yaml {CLASSES} --trainer.devices=2"
LONGEST = 120  # seconds: a process that waits for another one would wait for ever


def test_fit(tmp_path: Path) -> None:
    done = shell(f"timeout {LONGEST} lightning-lr fit {TWO} --trainer.max_steps=3", tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "MEMBER: 2/2" in done.stderr
    assert list(tmp_path.rglob("*step=3.ckpt"))


def test_range_test(tmp_path: Path) -> None:
    fast = "--lr_range_test.verify=false --lr_range_test.num_steps=50"
    done = shell(f"timeout {LONGEST} python -m lightning_lr lr_range_test {TWO} {fast} --json", tmp_path)
    assert done.returncode in (0, 3), done.stderr[-2000:]
    assert "MEMBER: 2/2" in done.stderr
    assert json.loads(done.stdout)["lr"] > 0  # the first process prints, and no other one
    assert (tmp_path / "lr_found.yaml").exists()
