"""The processes that train small models."""

from __future__ import annotations

import time
from concurrent.futures import Future

import pytest
import torch

from benchmarks.processes import processes


def test_each_has_one_thread() -> None:
    with processes(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == 1


def test_what_waits_is_dropped_after_a_failure() -> None:
    futures: list[Future[None]] = []

    def fail() -> None:
        with processes(1) as pool:
            futures.extend(pool.submit(time.sleep, 0.05) for _ in range(50))
            futures[0].result()
            raise ValueError("a run failed")

    with pytest.raises(ValueError, match="a run failed"):
        fail()
    assert futures[-1].cancelled()
    assert sum(not each.cancelled() for each in futures) < 10
