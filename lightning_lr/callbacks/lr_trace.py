"""`LRTrace`: learning rates and losses to every logger, whatever sets them."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_lr.trainer.lr_tracer import LRTracer


class LRTrace(Callback):
    """Logs the learning rate that each optimizer step used, beside its loss.

    For runs whose learning rate is set by a scheduler or by nobody; the other callbacks of this package log the same
    by themselves. Unlike Lightning's ``LearningRateMonitor`` it gives learning rate and loss at one step, so that one
    can be drawn against the other.

    Logged keys, every ``Trainer(log_every_n_steps)``:

    | key | value |
    |---|---|
    | ``lr/<optimizer>`` | the learning rate, of an optimizer with one parameter group |
    | ``lr/<optimizer>/<group>`` | of each group if there are several, by its ``"name"`` or ``pg1``, ``pg2``, ... |
    | ``lr/loss`` | the loss of the step, a mean over its micro-batches |
    """

    def __init__(self) -> None:
        self._tracer = LRTracer()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._tracer.start(trainer, self)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._tracer.batch_end(outputs)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._tracer.stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._tracer.stop()
