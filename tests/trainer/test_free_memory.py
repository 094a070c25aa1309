"""Free memory, as far as the system tells."""

from __future__ import annotations

import os

import torch

from lightning_lr.trainer.free_memory import free_bytes


def test_of_the_host() -> None:
    assert 0 < free_bytes(torch.device("cpu")) <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_unknown_is_none() -> None:
    assert free_bytes(torch.device("meta")) == 0
