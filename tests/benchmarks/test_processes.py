"""The processes that train small models."""

from __future__ import annotations

import time
from concurrent.futures import Future

import pytest
import torch

from benchmarks.processes import processes


def test_each_has_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with processes(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == 1


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_waits_is_dropped_after_a_failure(error: type[BaseException]) -> None:
    futures: list[Future[None]] = []

    def fail() -> None:
        with processes(1) as pool:
            futures.extend(pool.submit(time.sleep, 0.05) for _ in range(50))
            futures[0].result()
            raise error

    with pytest.raises(error):
        fail()
    assert futures[-1].cancelled()
