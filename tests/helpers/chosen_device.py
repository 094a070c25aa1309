"""The device that the tests train on: the CPU, or a GPU with ``TEST_ACCELERATOR=gpu``."""

from __future__ import annotations

import os

ACCELERATOR = os.environ.get("TEST_ACCELERATOR", "cpu")
DEVICE = "cuda" if ACCELERATOR == "gpu" else "cpu"
