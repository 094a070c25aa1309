"""Optimizers that adapt their learning rate themselves: the rate in effect, and what a test of them means."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch

from lightning_lr import LRRangeTest, LRTrace
from tests.helpers.lightning_classes import Callback
from tests.helpers.tiny_models import Classifier, loader, quiet_trainer


class Prodigy(torch.optim.SGD):
    """Keeps an estimate ``d`` in its group, as Prodigy does."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, lr)
        for group in self.param_groups:
            group["d"] = 0.25


class ScheduleFree(torch.optim.SGD):
    """Warms its learning rate up itself and keeps it as ``scheduled_lr``, as the optimizers of schedulefree do."""

    def __init__(self, params: Any, lr: float, warmup_steps: int) -> None:
        super().__init__(params, lr)
        for group in self.param_groups:
            group.update(scheduled_lr=0.025, warmup_steps=warmup_steps)


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


def test_a_rate_in_effect_that_comes_and_goes_with_a_group() -> None:
    """As when a state is loaded while training."""

    class Changes(Callback):
        def __init__(self) -> None:
            self.seen: list[dict[str, float]] = []

        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            values = {key: float(value) for key, value in trainer.callback_metrics.items() if "effective_lr" in key}
            self.seen.append(values)
            first, second = trainer.optimizers[0].param_groups
            if batch_idx == 0:
                second["d"] = 0.5
            elif batch_idx == 1:
                del first["d"]
                second["d"] = 0.75

    class TwoGroups(Classifier):
        def configure_optimizers(self) -> Any:
            first, *others = self.parameters()
            optimizer = Prodigy([{"params": [first]}, {"params": others}], 0.1)
            del optimizer.param_groups[1]["d"]
            return optimizer

    changes = Changes()
    quiet_trainer(callbacks=[LRTrace(), changes], max_epochs=1).fit(TwoGroups(), loader(3))
    first, second = "effective_lr-Prodigy/pg1", "effective_lr-Prodigy/pg2"
    assert changes.seen[0] == pytest.approx({first: 0.025})
    assert changes.seen[1] == pytest.approx({first: 0.025, second: 0.05})
    assert changes.seen[2][second] == pytest.approx(0.075)


@pytest.mark.filterwarnings("ignore:LRRangeTest is not confident")
def test_finder_says_what_it_tests() -> None:
    with pytest.warns(UserWarning, match="LRRangeTest tests Prodigy, .*; its authors advise 1.0"):
        quiet_trainer(callbacks=[LRRangeTest(num_steps=20, verify=False)]).fit(SelfAdapting(), loader())


class WarmsUp(Classifier):
    def __init__(self, warmup_steps: int) -> None:
        super().__init__()
        self.warmup_steps = warmup_steps

    def configure_optimizers(self) -> Any:
        return ScheduleFree(self.parameters(), 0.1, self.warmup_steps)


@pytest.mark.filterwarnings("ignore:LRRangeTest is not confident")
def test_finder_asks_for_a_test_without_the_warm_up_of_the_optimizer() -> None:
    message = r"LRRangeTest tests ScheduleFree, which lowers the .* first 500 steps: set warmup_steps=0 for the test\."
    with pytest.warns(UserWarning, match=message):
        quiet_trainer(callbacks=[LRRangeTest(num_steps=20, verify=False)]).fit(WarmsUp(500), loader())


def test_finder_tests_other_schedule_free_optimizers_without_a_word() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        quiet_trainer(callbacks=[LRRangeTest(num_steps=20, verify=False)]).fit(WarmsUp(0), loader())
    assert not [str(each.message) for each in caught if "tests ScheduleFree" in str(each.message)]
