"""The loss of a step that a GradScaler skipped belongs to no step."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_lr import LRRangeTest, LRTrace
from tests.helpers.lightning_classes import CSVLogger, MixedPrecision
from tests.helpers.tiny_models import Classifier, loader, quiet_trainer

SKIPPED = 6  # the batch of each epoch whose loss is not finite
LOSSES: list[float] = []  # of all batches. A global, since a rehearsal restores the model.


class NaNLoss(Classifier):
    """The loss of one batch of each epoch is NaN."""

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        loss = loss * math.nan if batch_idx == SKIPPED else loss
        LOSSES.append(loss.item())
        return loss


def _amp() -> MixedPrecision:
    return MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", init_scale=4.0))


def _logged(folder: Path) -> dict[int, float]:
    with (folder / "metrics.csv").open(newline="") as file:
        return {int(row["step"]): float(row["lr/loss"]) for row in csv.DictReader(file) if row["lr/loss"]}


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_trace_has_the_losses_of_the_steps_that_were_made(accumulate: int, tmp_path: Path) -> None:
    LOSSES.clear()
    logger = CSVLogger(tmp_path)
    trainer: dict[str, Any] = {"accumulate_grad_batches": accumulate, "log_every_n_steps": 1, "max_epochs": 1}
    quiet_trainer(callbacks=[LRTrace()], logger=logger, plugins=[_amp()], **trainer).fit(NaNLoss(), loader())
    steps = [LOSSES[i : i + accumulate] for i in range(0, len(LOSSES), accumulate)]
    means = {i: sum(step) / len(step) for i, step in enumerate(steps)}
    assert math.isnan(means.pop(SKIPPED // accumulate))
    assert _logged(Path(logger.log_dir)) == pytest.approx(means, rel=1e-5)


def test_a_sweep_has_the_losses_of_the_steps_that_were_made() -> None:
    LOSSES.clear()
    test = LRRangeTest(1e-5, 1e-3, num_steps=12, verify=False, apply=False)
    with pytest.warns(UserWarning, match="not confident"):
        quiet_trainer(callbacks=[test], plugins=[_amp()], max_epochs=1).fit(NaNLoss(), loader())
    assert test.result is not None
    made = [loss for loss in LOSSES if math.isfinite(loss)]
    assert test.result.curve.losses.tolist() == pytest.approx(made[: len(test.result.curve.losses)], rel=1e-5)
