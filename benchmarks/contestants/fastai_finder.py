"""The rule ``valley`` of fastai's ``lr_find``, then one cycle with the peak that it suggests, as ``fit_one_cycle``.

fastai sweeps from 1e-7 to 10 in 100 steps, as `LRRangeTest` does. So the rule reads a sweep of `LRRangeTest`.
"""

from __future__ import annotations

from benchmarks.contestants.nadamw import LR
from benchmarks.rival_rules import fastai_valley
from benchmarks.workloads.run import Run
from lightning_lr import LRRangeTest, OneCycleLR

NAME = "fastai's lr_find (valley) + one cycle"


def train(run: Run) -> None:
    found = run.find(LRRangeTest(verify=False)).result
    assert found is not None
    lr = fastai_valley(found.curve.lrs, found.curve.losses) or LR
    run.fit(lr, callbacks=[OneCycleLR(lr)])
