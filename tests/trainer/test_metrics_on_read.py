"""Metrics that are added to ``trainer.callback_metrics`` when it is read."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch

from lightning_lr import LRTrace
from lightning_lr.trainer.metrics_on_read import MetricsOnRead
from tests.helpers.lightning_classes import Callback
from tests.helpers.tiny_models import Classifier, loader, quiet_trainer


class Source:
    """Counts how often it is asked."""

    def __init__(self, key: str) -> None:
        self.key, self.calls = key, 0

    def __call__(self) -> dict[str, torch.Tensor]:
        self.calls += 1
        return {self.key: torch.tensor(float(self.calls))}


class Reader(Callback):
    """Reads the metrics after each batch."""

    def __init__(self) -> None:
        self.kept: list[torch.Tensor] = []

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        self.kept.append(trainer.callback_metrics["lr-SGD"])


def test_source_is_asked_at_each_read_and_at_the_end() -> None:
    trainer, source = quiet_trainer(), Source("a")
    own_class = type(trainer._logger_connector)
    metrics = MetricsOnRead(trainer, source)
    assert source.calls == 0
    assert [float(trainer.callback_metrics["a"]) for _ in range(2)] == [1.0, 2.0]
    metrics.end()
    assert type(trainer._logger_connector) is own_class
    assert [float(trainer.callback_metrics["a"]) for _ in range(2)] == [3.0, 3.0]


@pytest.mark.parametrize("first", [0, 1])
def test_two_sources_end_in_any_order(first: int) -> None:
    trainer, sources = quiet_trainer(), [Source("a"), Source("b")]
    before = dict(vars(trainer._logger_connector))
    own_class = type(trainer._logger_connector)
    both = [MetricsOnRead(trainer, source) for source in sources]
    both[first].end()
    other = sources[1 - first]
    assert float(trainer.callback_metrics[other.key]) == 1.0
    both[1 - first].end()
    assert type(trainer._logger_connector) is own_class
    assert vars(trainer._logger_connector).keys() == before.keys()


def test_another_connector_of_the_same_trainer_has_no_sources() -> None:
    trainer, source = quiet_trainer(), Source("a")
    metrics = MetricsOnRead(trainer, source)
    other = type(trainer._logger_connector)(trainer)
    assert other.callback_metrics == {}
    metrics.end()


def test_a_metric_that_was_read_stays_as_it_was() -> None:
    """A callback such as `EarlyStopping` keeps it, and compares the next one with it."""

    class Halving(Classifier):
        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), 1.0)
            scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
            return [optimizer], [{"scheduler": scheduler, "interval": "step"}]

    reader = Reader()
    quiet_trainer(callbacks=[LRTrace(), reader], max_epochs=1).fit(Halving(), loader(4))
    assert [float(metric) for metric in reader.kept] == [1.0, 0.5, 0.25, 0.125]


@pytest.mark.parametrize("fails", [False, True])
def test_trainer_is_as_before_after_training(fails: bool) -> None:
    class Failing(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            if fails and batch_idx == 2:
                raise RuntimeError("of the user")
            return super().training_step(batch, batch_idx)

    trainer = quiet_trainer(callbacks=[LRTrace()], max_epochs=1)
    own_class = type(trainer._logger_connector)
    if fails:
        with pytest.raises(RuntimeError, match="of the user"):
            trainer.fit(Failing(), loader(4))
    else:
        trainer.fit(Failing(), loader(4))
    assert type(trainer._logger_connector) is own_class
    metrics = pickle.loads(pickle.dumps(trainer.callback_metrics))
    assert float(metrics["lr-SGD"]) == pytest.approx(0.01)
