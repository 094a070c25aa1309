"""What holds for all tests.

One thread a process: the models are so small that a second thread only costs, and with several a fork can hang. Levels
of loggers are those of before after each test, since examples and benchmarks set them. Properties are tried with 40
examples, new ones in each run. What is imported before the first test is no garbage, so no collection searches it.
"""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

os.environ["OMP_NUM_THREADS"] = "1"  # torch reads it when imported, also in processes that tests start

settings.register_profile("suite", max_examples=40, deadline=None)
settings.load_profile("suite")


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def levels_of_loggers() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("lightning", "lightning.pytorch", "pytorch_lightning")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
