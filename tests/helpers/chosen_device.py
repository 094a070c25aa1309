"""Where the tests train: on the CPU, or on a GPU if ``TEST_ACCELERATOR=gpu`` says so."""

from __future__ import annotations

import os

ACCELERATOR = os.environ.get("TEST_ACCELERATOR", "cpu")
DEVICE = "cuda" if ACCELERATOR == "gpu" else "cpu"
