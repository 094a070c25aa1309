"""One thread a process: the models are so small that a second one only costs, and after more a fork can hang."""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # read when torch is imported, by processes that tests start too
