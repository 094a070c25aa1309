"""One thread a process. The models are so small that a second thread only costs, and with several a fork can hang."""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # torch reads it when imported, also in processes that tests start
