"""Adaptation on two processes: the same rates on both, whether the model is copied or sharded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.helpers.distributed import start_ranks, wait_for_ranks


def test_copied_sharded_and_with_buckets(tmp_path: Path) -> None:
    processes = start_ranks("hypergradient_rank", [str(tmp_path)], 2)
    errors = wait_for_ranks(processes, timeout=400)
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)
    found = json.loads((tmp_path / "rates.json").read_text())
    assert found["long, ddp"][-1] > 3 * found["long, ddp"][0]
    assert found["long, fsdp2"] == pytest.approx(found["long, ddp"], rel=1e-3)
    # the scale is that of the checkpoint; the mean, of which each process had a part, is a new one
    assert found["long, fsdp2 resumed"][0] == pytest.approx(found["long, fsdp2"][20], rel=1e-3)
    assert found["short, fsdp2 resumed"][-1] > found["short, fsdp2 resumed"][0]
    assert found["guards ended"] == [True, True]
    for name in ("mean losses", "mean losses, sparse"):
        mean, expected, losses = found[name]
        assert mean == pytest.approx(expected, rel=1e-5)
        assert losses >= 34
    saved, expected = found["saved losses"]
    assert len(saved) >= 2
    assert saved == pytest.approx(expected, rel=1e-6)
    # the gradients that DDP writes over cost one measurement, the first: 2 %
    assert found["short, ddp"][-1] > 1.2 * found["short, ddp"][0]
    assert found["short, buckets"] == pytest.approx(found["short, ddp"], rel=0.03)
