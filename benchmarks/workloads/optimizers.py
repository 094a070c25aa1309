"""NadamW, the optimizer of AlgoPerf's baseline: of all workloads, unless a contestant brings its own."""

from __future__ import annotations

import torch

from benchmarks.suite.optimizers import one

WEIGHT_DECAY = 0.01  # also of the contestants that bring their own optimizer
# ``foreach`` takes a sixth off the time of a run: torch's loop over the parameters is then in C++.
NADAMW = one(torch.optim.NAdam, weight_decay=WEIGHT_DECAY, decoupled_weight_decay=True, foreach=True)
