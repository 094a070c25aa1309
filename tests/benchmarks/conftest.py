"""What the benchmarks need."""

from __future__ import annotations

from lightning.pytorch import callbacks

# The costs are compared with `WeightAveraging`, which Lightning has since 2.6.
collect_ignore = [] if hasattr(callbacks, "WeightAveraging") else ["test_bench.py"]
