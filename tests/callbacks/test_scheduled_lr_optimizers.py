"""Schedules for named parameter groups and for one of several optimizers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_lr import CyclicalLR, LRRangeTest, OneCycleLR
from tests.helpers.lightning_classes import MisconfigurationException, TensorBoardLogger
from tests.helpers.recorded_steps import RecordingClassifier, TwoOptimizers, fit

pytestmark = pytest.mark.filterwarnings("ignore:.*lr_scheduler.step.*")


class Named(RecordingClassifier):
    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        for group, name in zip(optimizer.param_groups, ("backbone", "head"), strict=True):
            group["name"] = name
        return optimizer


def test_bounds_by_the_name_of_a_group() -> None:
    model = Named(backbone_ratio=0.5)
    fit(model, CyclicalLR(0.0, {"head": 0.1, "backbone": 0.02}, 5), max_epochs=1)
    assert model.used[5] == pytest.approx([0.02, 0.1])
    with pytest.raises(ValueError, match="one number for each parameter group by its name, backbone, head, got"):
        fit(Named(backbone_ratio=0.5), CyclicalLR(0.0, {"head": 0.1, "neck": 0.02}, 5))


def test_each_optimizer_with_a_cycle_of_its_own(tmp_path: Path) -> None:
    cycles = [CyclicalLR(0.01, 0.1, 5, optimizer=0), CyclicalLR(0.2, 0.3, 3, optimizer=1, log_position=True)]
    model, board = TwoOptimizers(), TensorBoardLogger(tmp_path)
    fit(model, *cycles, max_epochs=1, logger=board, log_every_n_steps=1)
    for used, cycle in zip(model.used, cycles, strict=True):
        assert used == cycle.preview(20).lr.tolist()
    events = EventAccumulator(board.log_dir).Reload()
    assert [event.value for event in events.Scalars("cyclical_lr/SGD-1/cycle")] == [1 + t // 6 for t in range(20)]
    assert [event.value for event in events.Scalars("lr/SGD-1")] == pytest.approx(model.used[1])


def test_one_optimizer_is_left_to_others() -> None:
    model = TwoOptimizers()
    fit(model, CyclicalLR(0.2, 0.3, 3, optimizer=1), max_epochs=1)
    assert model.used[0] == [0.1] * 20
    assert model.used[1] == CyclicalLR(0.2, 0.3, 3).preview(20).lr.tolist()


@pytest.mark.filterwarnings("ignore:LRRangeTest is not confident")
def test_a_range_test_gives_one_its_bounds_and_the_other_its_rate() -> None:
    model, test = TwoOptimizers(), LRRangeTest(num_steps=30)
    fit(model, test, CyclicalLR(step_size=5, optimizer=0), max_epochs=1)
    assert test.result is not None
    assert model.used[0][5] == pytest.approx(test.result.max_lr)
    assert model.used[1] == pytest.approx([0.5 * test.result.lr] * 20)


def test_two_cycles_for_one_optimizer() -> None:
    with pytest.raises(MisconfigurationException, match="CyclicalLR and OneCycleLR would both set the learning rate"):
        fit(TwoOptimizers(), CyclicalLR(0.01, 0.1, 5, optimizer=1), OneCycleLR(0.1))


def test_an_optimizer_that_is_not_there() -> None:
    with pytest.raises(MisconfigurationException, match=r"CyclicalLR\(optimizer=1\) must name one of the 1 optimizers"):
        fit(RecordingClassifier(), CyclicalLR(0.01, 0.1, 5, optimizer=1))
