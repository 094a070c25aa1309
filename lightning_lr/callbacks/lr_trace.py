"""`LRTrace`: learning rates and losses to every logger, whatever sets the learning rates."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer

from lightning_lr.callbacks._skipped_hooks import SkippedHooks
from lightning_lr.trainer.lightning_packages import Callback
from lightning_lr.trainer.lr_tracer import LRTracer


class LRTrace(Callback):
    """Logs the learning rate that each optimizer step used, and the loss of the same step.

    For runs whose learning rate is constant or set by a scheduler. The other callbacks of this package log the same
    values without it. Lightning's ``LearningRateMonitor`` logs no loss; here learning rate and loss have the same step,
    so one can be drawn against the other.

    Logged keys, every ``Trainer(log_every_n_steps)``, by the first callback of this package in the Trainer:

    | key | value |
    |---|---|
    | ``lr/<optimizer>`` | the learning rate, of an optimizer with one parameter group |
    | ``lr/<optimizer>/<group>`` | of each group if there are several, by its ``"name"`` or ``pg1``, ``pg2``, ... |
    | ``lr/<optimizer>[/<group>]/effective`` | the learning rate in effect, if the optimizer adapts it itself |
    | ``lr/loss`` | the loss of the step, a mean over its micro-batches |

    The learning rate in effect is d · lr of Prodigy and D-Adaptation, and ``scheduled_lr`` of schedule-free optimizers.
    Of groups with one name, the second is ``<name>-1``, and so on. Groups without a learning rate are left out, and so
    are, with a warning, the steps of an optimizer without step hooks, whose class does not call ``super().__init__``.

    Metrics in ``trainer.callback_metrics`` of every step, with or without a logger. ``EarlyStopping("lr-Adam")`` and
    ``ModelCheckpoint(filename="{lr-Adam}")`` read them:

    | key | value |
    |---|---|
    | ``lr-<optimizer>[/<group>]`` | the learning rate, under the name that ``LearningRateMonitor`` gives it |
    | ``effective_lr-<optimizer>[/<group>]`` | the learning rate in effect, if the optimizer adapts it itself |
    | ``lr/...`` | the learning rates under the keys above |
    """

    def __init__(self) -> None:
        self.lr_tracer = LRTracer()
        self._skipped_hooks = SkippedHooks(self)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.lr_tracer.start(trainer, self)
        self._skipped_hooks.skip(vars(trainer)["callbacks"])

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.lr_tracer.batch_end(outputs)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._skipped_hooks.restore()
        self.lr_tracer.stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._skipped_hooks.restore()
        self.lr_tracer.stop()
