"""Free memory of the host, of a container and of other devices."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from lightning_lr.trainer import free_memory
from lightning_lr.trainer.free_memory import free_bytes


def test_of_the_host() -> None:
    assert 0 < free_bytes(torch.device("cpu")) <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize(
    ("limit_file", "use_file"),
    [("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")],
    ids=["cgroup v2", "cgroup v1"],
)
@pytest.mark.parametrize(("limit", "used", "free"), [("3000", "1000", 2000), ("3000", "4000", 0), ("max", "0", None)])
def test_of_a_container(
    limit: str,
    used: str,
    free: int | None,
    limit_file: str,
    use_file: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / limit_file).write_text(f"{limit}\n")
    (tmp_path / use_file).write_text(f"{used}\n")
    monkeypatch.setattr(free_memory, "_CGROUP", tmp_path)
    found = free_bytes(torch.device("cpu"))
    assert found == free if free is not None else found > 4000


def test_unknown_is_none() -> None:
    assert free_bytes(torch.device("meta")) == 0
