"""Processes that train small models side by side."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

import torch


@contextmanager
def processes(count: int) -> Iterator[Executor]:
    """``count`` processes with one thread each: the models are so small that a second thread only costs.

    When a run fails or the user interrupts, the runs that wait are dropped. Those that are with the processes already,
    up to ``count + 1`` more, may still run to their end.
    """
    with ProcessPoolExecutor(count, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
