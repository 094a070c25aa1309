"""Run the examples with each YAML file, the notebook and the demo, as a user would."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.helpers.preloaded_python import preloaded_path

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
CONFIGS = sorted(set(EXAMPLES.glob("*.yaml")) - {EXAMPLES / "range_test_then_cycles.yaml"})
NOTEBOOK = EXAMPLES / "tour.ipynb"


def run(folder: Path, script: str, *args: str) -> str:
    """Run an example in an empty folder."""
    path = f"{preloaded_path()}:{os.environ['PATH']}"
    done = subprocess.run(
        ["python", str(EXAMPLES / script), *args],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": path, "COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_example_with_each_yaml_file(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, since the imports of a new one take longer than the training."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setattr(sys, "argv", ["train.py", "fit", "-c", str(config), "--trainer.max_epochs=4"])
    runpy.run_path(str(EXAMPLES / "train.py"), run_name="__main__")
    assert list(tmp_path.rglob("events.out.tfevents*"))


def test_range_test_then_cycles(tmp_path: Path) -> None:
    config = EXAMPLES / "range_test_then_cycles.yaml"
    output = run(tmp_path, "train.py", "fit", "-c", str(config), "--trainer.max_epochs=4")
    assert re.search(r"LRRangeTest found lr=0\.\d+ \(confident\); 0\.\d+ with a decay to 0; cycle bounds", output)


def test_demo(tmp_path: Path) -> None:
    output = run(tmp_path, "demo.py")
    reached = [float(share) for share in re.findall(r"([\d.]+)% (?:with|at)", output)]
    assert len(reached) == 2
    assert reached[0] > 97 > reached[1]
    assert "tensorboard --logdir" in output
    assert (tmp_path / "demo_logs" / "lr_range_test.png").is_file()


def test_notebook() -> None:
    """It is kept without outputs, and shows four figures when it is run."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [(cell.outputs, cell.execution_count) for cell in code] == [([], None)] * len(code)
    client = NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": str(EXAMPLES)}})
    kernel: Any = client.create_kernel_manager()
    kernel.kernel_spec.argv[0] = f"{preloaded_path()}/python"
    client.execute()
    outputs = [output for cell in code for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 4
    accuracies = re.findall(r"([\d.]+)%", "".join(output.get("text", "") for output in outputs))
    assert [float(each) > 90 for each in accuracies] == [False, True, True, True]
