"""Optimizers that adapt their learning rate themselves: the rate in effect, and what a test of them means."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lightning_lr import LRRangeTest, LRTrace
from tests.helpers.tiny_models import Classifier, loader, quiet_trainer


class Prodigy(torch.optim.SGD):
    """Keeps an estimate ``d`` in its group, as Prodigy does."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, lr)
        for group in self.param_groups:
            group["d"] = 0.25


class SelfAdapting(Classifier):
    def configure_optimizers(self) -> Any:
        return Prodigy(self.parameters(), 0.1)


def test_rate_in_effect_is_a_metric() -> None:
    trainer = quiet_trainer(callbacks=[LRTrace()])
    trainer.fit(SelfAdapting(), loader())
    values = {key: float(value) for key, value in trainer.callback_metrics.items() if "lr" in key}
    assert values == pytest.approx(
        {
            "lr/Prodigy": 0.1,
            "lr/Prodigy/effective": 0.025,
            "lr-Prodigy": 0.1,
            "effective_lr-Prodigy": 0.025,
        }
    )


@pytest.mark.filterwarnings("ignore:LRRangeTest is not confident")
def test_finder_says_what_it_tests() -> None:
    with pytest.warns(UserWarning, match="LRRangeTest tests Prodigy, .*; its authors advise 1.0"):
        quiet_trainer(callbacks=[LRRangeTest(num_steps=20, if_unsure="warn")]).fit(SelfAdapting(), loader())
