"""Metrics that are added to ``trainer.callback_metrics`` when it is read."""

from __future__ import annotations

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
    assert float(trainer.callback_metrics["lr-SGD"]) == pytest.approx(0.01)


@pytest.mark.parametrize("key", ["lr-SGD", "lr/SGD"])
def test_a_module_may_log_the_same_key_for_an_epoch(key: str) -> None:
    """Its value comes after that of the last step, as if that had been written at once."""

    class Logging(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            self.log(key, 7.0, on_step=False, on_epoch=True)
            return super().training_step(batch, batch_idx)

    trainer = quiet_trainer(callbacks=[LRTrace()], max_epochs=1)
    trainer.fit(Logging(), loader(4))
    assert float(trainer.callback_metrics[key]) == 7.0


@pytest.mark.parametrize("loaders", [1, 2])
def test_a_module_may_log_the_same_key_in_validation(loaders: int) -> None:
    """Lightning adds the metrics of the first of two loaders before those of the epoch."""

    class Logging(Classifier):
        def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
            if dataloader_idx == 0:
                self.log("lr-SGD", 7.0, add_dataloader_idx=False)

    trainer = quiet_trainer(callbacks=[LRTrace()], max_epochs=1)
    trainer.fit(Logging(), loader(4), [loader(2) for _ in range(loaders)])
    assert float(trainer.callback_metrics["lr-SGD"]) == 7.0


def test_a_value_that_was_set_after_a_read_stays_until_the_next_step() -> None:
    seen: list[float] = []

    class Setting(Callback):
        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            if batch_idx == 0:
                trainer.callback_metrics["lr-SGD"] = torch.tensor(5.0)
            seen.append(float(trainer.callback_metrics["lr-SGD"]))

        def on_before_backward(self, trainer: Any, *_: Any) -> None:
            seen.append(float(trainer.callback_metrics.get("lr-SGD", torch.tensor(0.0))))

    quiet_trainer(callbacks=[LRTrace(), Setting()], max_epochs=1).fit(Classifier(), loader(2))
    assert seen == pytest.approx([0.0, 5.0, 5.0, 0.01])


@pytest.mark.parametrize("precision", ["bf16-true", "64-true"])
def test_type_of_a_metric_does_not_depend_on_where_it_is_read(precision: Any) -> None:
    """Lightning changes torch's default type within a step."""
    dtypes: list[torch.dtype] = []

    class Reading(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            if batch_idx:
                dtypes.append(self.trainer.callback_metrics["lr-SGD"].dtype)
            return super().training_step(batch, batch_idx)

    quiet_trainer(callbacks=[LRTrace()], max_epochs=1, precision=precision).fit(Reading(), loader(3))
    assert dtypes == [torch.float32] * 2
