"""The trace that an environment variable asks for, by Lightning's own entry point for callbacks."""

from __future__ import annotations

import os
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

import lightning_lr
from lightning_lr_plugin import VARIABLE, callbacks
from tests.helpers.preloaded_python import preloaded_path

ROOT = Path(__file__).parents[1]
PROGRAM = f"""
import os, sys
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger
from plain_model import Data, Net

options = dict(accelerator="cpu", max_epochs=1, log_every_n_steps=10, enable_progress_bar=False)
Trainer(logger=False, **options)
assert "lightning_lr_plugin" in sys.modules
assert not any(name.partition(".")[0] == "lightning_lr" for name in sys.modules)
del sys.modules["lightning_lr_plugin"]
before = set(sys.modules)
trainer = Trainer(logger=False, **options)
assert set(sys.modules) - before == {{"lightning_lr_plugin"}}  # it imports nothing else
assert not any(type(callback).__module__.startswith("lightning_lr") for callback in trainer.callbacks)

os.environ["{VARIABLE}"] = "trace"
Trainer(logger=CSVLogger("."), **options).fit(Net(), datamodule=Data())
"""


def test_a_program_gets_a_trace_by_the_variable_alone(tmp_path: Path) -> None:
    """The entry points are those of ``pyproject.toml``, whatever version of the package is installed."""
    metadata = tmp_path / "path" / f"lightning_lr-{version('lightning_lr')}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: lightning_lr\nVersion: {lightning_lr.__version__}\n"
    )
    text = (ROOT / "pyproject.toml").read_text()
    groups = re.findall(r'^\[project\.entry-points\."(\S+callbacks_factory)"\]\n(.+)$', text, re.MULTILINE)
    assert len(groups) == 2
    entries = (f"[{group}]\n{entry}\n".replace('"', "") for group, entry in groups)
    (metadata / "entry_points.txt").write_text("".join(entries))
    path = os.pathsep.join(map(str, (metadata.parent, ROOT / "tests" / "projects" / "plain_cli", ROOT)))
    environment = {key: value for key, value in os.environ.items() if key != VARIABLE}
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [f"{preloaded_path()}/python", "program.py"],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (metrics,) = tmp_path.rglob("metrics.csv")
    head, *rows = metrics.read_text().splitlines()
    assert head == "lr/SGD,lr/loss,step"
    assert [row.split(",")[0] for row in rows] == ["0.001"] * 4


def test_other_values_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "1")
    with pytest.raises(ValueError, match="LIGHTNING_LR must be trace or not set, got '1'"):
        callbacks()
