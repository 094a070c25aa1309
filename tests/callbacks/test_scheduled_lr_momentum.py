"""Momentum and weight decay that a schedule moves with the learning rate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_lr import CyclicalLR
from tests.helpers.lightning_classes import MisconfigurationException, TensorBoardLogger
from tests.helpers.recorded_steps import RecordingClassifier, fit
from tests.helpers.tiny_models import Classifier

pytestmark = pytest.mark.filterwarnings("ignore:.*lr_scheduler.step.*")


@pytest.mark.parametrize(
    ("optimizer", "read"), [("SGD", lambda group: group["momentum"]), ("AdamW", lambda group: group["betas"][0])]
)
def test_momentum_moves_against_the_learning_rate(optimizer: str, read: Callable[[dict[str, Any]], float]) -> None:
    model = RecordingClassifier(optimizer=optimizer)
    fit(model, CyclicalLR(0.0, 0.1, 5, momentum=(0.8, 0.9)), max_epochs=1)
    expected = [0.9 - 0.1 * min(t % 10, 10 - t % 10) / 5 for t in range(20)]
    assert [read(groups[0]) for groups in model.groups] == pytest.approx(expected)
    if optimizer == "AdamW":
        assert all(groups[0]["betas"][1] == 0.999 for groups in model.groups)


class Decayed(RecordingClassifier):
    """One group has weight decay, one has not."""

    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        optimizer.param_groups[1]["weight_decay"] = 0.3
        return optimizer


def test_weight_decay_moves_where_there_is_some() -> None:
    model = Decayed(backbone_ratio=1.0)
    fit(model, CyclicalLR(0.0, 0.1, 5, weight_decay=(0.01, 0.05)), max_epochs=1)
    assert all(groups[0]["weight_decay"] == 0 for groups in model.groups)
    expected = [0.05 - 0.04 * min(t % 10, 10 - t % 10) / 5 for t in range(20)]
    assert [groups[1]["weight_decay"] for groups in model.groups] == pytest.approx(expected)


def test_nothing_but_the_learning_rate_moves_unless_asked_for() -> None:
    model = RecordingClassifier(momentum=0.0)
    fit(model, CyclicalLR(0.01, 0.1, 5), max_epochs=1)
    assert {(groups[0]["momentum"], groups[0]["weight_decay"]) for groups in model.groups} == {(0.0, 0)}


@pytest.mark.parametrize("key", ["momentum", "weight_decay"])
def test_an_optimizer_without_it(key: str) -> None:
    class Plain(Classifier):
        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.Adagrad(self.parameters(), 0.1)
            del optimizer.param_groups[0]["weight_decay"], optimizer.defaults["weight_decay"]
            return optimizer

    with pytest.raises(MisconfigurationException, match=f"{key}=.* needs an optimizer that has .*Adagrad has not"):
        fit(Plain(), CyclicalLR(0.01, 0.1, 5, **{key: (0.1, 0.2)}))  # type: ignore[arg-type]


def test_momentum_and_weight_decay_are_logged(tmp_path: Path) -> None:
    board = TensorBoardLogger(tmp_path)
    model = RecordingClassifier()
    cycle = CyclicalLR(0.01, 0.1, 5, momentum=(0.8, 0.9), weight_decay=(0.01, 0.05))
    fit(model, cycle, logger=board, log_every_n_steps=3)
    events = EventAccumulator(board.log_dir).Reload()
    for key in ("momentum", "weight_decay"):
        logged = {event.step: event.value for event in events.Scalars(f"cyclical_lr/{key}")}
        assert logged == pytest.approx({step: model.groups[step][0][key] for step in range(2, 40, 3)}, rel=1e-6)
