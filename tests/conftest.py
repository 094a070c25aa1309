"""One thread a process: the models are so small that a second one only costs, and processes share the cores."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is imported, by processes that tests start too
