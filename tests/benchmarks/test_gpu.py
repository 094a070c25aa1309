"""The benchmark for a GPU, with tiny networks on the CPU."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.gpu import waits
from benchmarks.gpu.models import workloads
from benchmarks.gpu.record import Record
from benchmarks.gpu.training import CONTESTANTS, Network, loader_of

CPU = torch.device("cpu")


def rows_of(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((path / "gpu.json").read_text())["rows"]
    return rows


WITHOUT_PACKAGES = """
import gc, importlib.metadata, runpy, sys
distribution = importlib.metadata.distribution
ABSENT = ("jsonargparse", "torchvision", "timm")

def without(name):
    if name.startswith(ABSENT):
        raise importlib.metadata.PackageNotFoundError(name)
    return distribution(name)

importlib.metadata.distribution = without
sys.modules.update(dict.fromkeys(ABSENT))
import lightning.pytorch
gc.freeze()  # the benchmark collects garbage before each turn
runpy.run_module("benchmarks.gpu", run_name="__main__", alter_sys=True)
"""


def test_all_parts_run_without_packages_that_a_gpu_machine_may_lack(tmp_path: Path) -> None:
    # Without compilation and ResNet, which take a minute on a CPU.
    parts = ["overhead, tiny GPT, eager", "range test", "wide"]
    arguments = ["--device", "cpu", "--tiny", "--out", str(tmp_path), "--only", *parts]
    subprocess.run([sys.executable, "-c", WITHOUT_PACKAGES, *arguments], check=True, timeout=600)
    rows = rows_of(tmp_path)
    assert not [row for row in rows if "failed" in row or "left_out" in row]
    eager = [row["contestant"] for row in rows if row["part"] == "overhead, tiny GPT, eager"]
    assert eager == list(CONTESTANTS)
    assert {row["part"].split(",")[0] for row in rows} == {"overhead", "range test", "wide"}
    assert all(row["ms_per_step"] > 0 for row in rows if row["part"].startswith("overhead"))


def test_the_workloads_have_the_sizes_that_their_names_say() -> None:
    with torch.device("meta"):
        sizes = [sum(p.numel() for p in workload.build().parameters()) for workload in workloads(False).values()]
    assert sizes == [124_439_808, 25_557_032]  # of GPT-2, and of torchvision's ResNet-50


def test_rows_are_in_the_file_at_once_and_a_failure_is_a_row(tmp_path: Path) -> None:
    record = Record(tmp_path / "gpu.json", minutes=1)
    record.add("first", value=1.5)
    assert [row["part"] for row in rows_of(tmp_path)] == ["first"]

    def fail() -> None:
        raise ZeroDivisionError("this part")

    record.run("second", fail)
    assert record.has_failures()
    assert rows_of(tmp_path)[-1]["failed"] == "ZeroDivisionError: this part"
    late = Record(tmp_path / "gpu.json", minutes=0)
    late.run("third", lambda: late.add("it has run"))
    assert [row["part"] for row in rows_of(tmp_path)] == ["third"]
    assert "left_out" in rows_of(tmp_path)[0]


class Waiting(Network):
    """Warns in each step as CUDA does, if asked to."""

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        if torch.cuda.get_sync_debug_mode():
            warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
        return super().training_step(batch, batch_idx)


def test_waits_are_counted_in_the_ten_steps_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mode = ["default"]
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", lambda new: mode.append(new))
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: int(mode[-1] == "warn"))
    workload = workloads(True)["tiny GPT"]
    record = Record(tmp_path / "gpu.json", minutes=1)
    waits.measure(record, Waiting(workload.build()), loader_of(workload, CPU), CPU, warm_up=2)
    rows = rows_of(tmp_path)
    assert [row["contestant"] for row in rows] == list(CONTESTANTS)
    assert {row["per_step"] for row in rows} == {1.0}
    assert mode[-1] == "default"
