"""A sweep: training with a list of learning rates, one after the other, and the loss or metric recorded at each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from textwrap import shorten
from typing import Any, NamedTuple

from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from lightning_lr.optimizers.param_groups import lr_ratios, set_lr
from lightning_lr.trainer.lightning_packages import Callback, MisconfigurationException
from lightning_lr.trainer.logged_metrics import LoggedMetric, logged_keys
from lightning_lr.trainer.never_divergence import NEVER_DIVERGENCE
from lightning_lr.trainer.rehearsal import Rehearsal
from lightning_lr.trainer.step_loss import StepLoss
from lightning_lr.trainer.sweep_values import SweepValues

# Batches without an optimizer step after which the sweep is an error: far more than any accumulation window has.
_MAX_BATCHES_WITHOUT_STEP = 1000
# Skipped optimizer steps in a row after which the sweep has diverged. Each halves AMP's loss scale, by 2^20 in all.
_MAX_SKIPPED_STEPS = 20
# Optimizer steps without a loss at the start of a sweep after which it is an error. A module may leave some out.
_MAX_STEPS_WITHOUT_LOSS = 10
# Characters of an exception that are quoted: the first sentence of most.
_ERROR_WIDTH = 120


class SweepResult(NamedTuple):
    """What a sweep recorded.

    Attributes:
        values: the loss or metric at each point; fewer than learning rates if the sweep was stopped.
        steps: optimizer steps that were run. May be more than the points need, since losses are read in blocks.
        error: the exception that ended the sweep and counts as a divergence, as text; None if there was none.
        later: the losses of the steps that were run after the last point.
    """

    values: list[float]
    steps: int
    error: str | None = None
    later: Sequence[float] = ()


@dataclass(frozen=True, eq=False)
class Sweep:
    """Trains with each learning rate in turn and records the training loss or a logged metric.

    Without ``monitor`` a point is one optimizer step (in manual optimization: one batch in which an optimizer stepped).
    Its value is the loss, averaged over its micro-batches and over ranks. With ``monitor`` a point is ``steps_per_lr``
    such steps. Then the metric is read: from the logs of the training step if it is there, else from the validation
    loop. A step that AMP skipped is not a point: its learning rate is tried again.

    Three values in a row that are not finite end the sweep, and so do many skipped steps in a row after the first
    point. An exception of the module counts as a value that is not finite, from ``points_before_error`` points on: a
    module may refuse NaN, as ``torch.distributions`` does. Errors of the program, the configuration and the memory stay
    errors. With several processes every exception stays an error, since the other ranks may not meet it.

    Args:
        lrs: one learning rate per point, for the parameter group with the highest learning rate. The other groups, of
            all optimizers, keep their ratio to it.
        owner: the name in error messages.
        monitor: a key that the module logs, None for the training loss.
        steps_per_lr: optimizer steps per point; more than 1 only with ``monitor``.
        eval_batches: maximum number of batches of each validation loader.
        should_stop: given the values so far, whether the sweep ends here. It is asked for every point in order. Losses
            are read in blocks, so the training may be some steps ahead; the points of those steps are dropped.
        points_before_error: points from which an exception counts as a divergence; None: it never does.
        on_point: called at each point with its learning rate and the latest value that was read, NaN before the first.
        min_points: points that are needed, None for all. A stream may end after them.
    """

    lrs: Sequence[float]
    owner: str
    monitor: str | None = None
    steps_per_lr: int = 1
    eval_batches: int = 1
    should_stop: Callable[[Sequence[float]], bool] = lambda values: False  # noqa: ARG005
    points_before_error: int | None = None
    on_point: Callable[[float, float], None] = lambda lr, value: None  # noqa: ARG005
    min_points: int | None = None

    def run(self, trainer: Trainer, rehearsal: Rehearsal) -> SweepResult:
        """Run the sweep in a rehearsal, from its current state.

        Raises:
            MisconfigurationException: if the data ended early, or there was no loss or no such metric to record.
        """
        recorder = _SweepRecorder(self, trainer)
        recorded = recorder.recorded
        handles = [optimizer.register_step_post_hook(recorder.after_step) for optimizer in trainer.optimizers]
        try:
            rehearsal.train(
                recorder,
                should_stop=lambda: recorded.is_over,
                should_validate=lambda: recorder.needs_validation,
                eval_batches=self.eval_batches if self.monitor else None,
            )
        except Exception as error:
            if not recorder.count_as_divergence(trainer, error):
                raise
        finally:
            for handle in handles:
                handle.remove()
        recorded.read_losses(trainer)
        needed = len(self.lrs) if self.min_points is None else self.min_points
        if not recorded.is_over and len(recorded.values) < needed:
            raise MisconfigurationException(
                f"{self.owner} needs {needed * self.steps_per_lr} optimizer steps, but the training data ended after"
                f" {len(recorded.values) * self.steps_per_lr}: lower num_steps."
            )
        return SweepResult(recorded.values, recorder.steps, recorder.error, recorded.later)


class _SweepRecorder(Callback):
    """One run of a sweep: sets the learning rates and records the values.

    Attributes:
        recorded: the values.
        steps: optimizer steps that were run.
        error: the exception that ended the sweep and counts as a divergence, as text; None if there was none.
    """

    def __init__(self, sweep: Sweep, trainer: Trainer) -> None:
        self._sweep = sweep
        self._ratios = lr_ratios(trainer.optimizers)
        self._metric = None if sweep.monitor is None else LoggedMetric(sweep.monitor, sweep.owner)
        self.recorded = SweepValues(len(sweep.lrs), sweep.should_stop)
        self.error: str | None = None
        self._loss = StepLoss()
        self._has_stepped = False  # in the current batch
        self.steps = self._steps_since_point = self._batches_since_step = 0
        self._skipped_steps = 0  # in a row; a step counts as skipped until it has been made
        self._steps_without_loss = 0  # in a row
        self._module_runs = False  # so that an exception comes from the module, not from the data

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self._metric is not None:
            self._metric.check_is_read()
        self._batches_since_step += 1
        if self._batches_since_step > _MAX_BATCHES_WITHOUT_STEP:
            raise MisconfigurationException(
                f"{self._sweep.owner}: in {_MAX_BATCHES_WITHOUT_STEP} batches there was no optimizer step with a loss"
                " to record: return the loss from training_step and step the optimizer."
            )
        self._set_lrs()
        self._module_runs = True

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        if not loss.requires_grad:
            # A module may replace a loss that is not finite by a constant: past the first point, that is a divergence.
            is_first = len(self.recorded) == 0 or self._sweep.points_before_error is None
            raise (MisconfigurationException if is_first else ValueError)(
                f"{self._sweep.owner}: the loss of training_step has no gradient (requires_grad is False): return a"
                " loss that depends on a trainable parameter and is not detached."
            )

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        self._set_lrs()  # again: in manual optimization the training step may have stepped a scheduler
        self._skipped_steps += 1

    def after_step(self, optimizer: Optimizer, args: object, kwargs: object) -> None:
        """A post-hook of the optimizers."""
        # GradScaler calls a fused optimizer even if the step is skipped.
        found_inf = getattr(optimizer, "found_inf", None)
        if found_inf is None or not bool(found_inf):
            self._has_stepped, self._skipped_steps = True, 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._module_runs = False
        self._loss.add(outputs)
        if self._skipped_steps > _MAX_SKIPPED_STEPS and len(self.recorded) > 0:
            self.recorded.read_losses(trainer)
            self.recorded.end_as_diverged()
        if not self._has_stepped:
            self._loss.batch_without_step(trainer)
            return
        self._has_stepped = False
        self.steps += 1
        loss = self._loss.pop_mean(trainer)
        if self._metric is not None:
            self._batches_since_step = 0
            self._steps_since_point += 1
            if self._steps_since_point == self._sweep.steps_per_lr:
                self._record(self._metric.read_after_batch(trainer))
        elif loss is None:
            self._steps_without_loss += 1
            if self._steps_without_loss == self.steps == _MAX_STEPS_WITHOUT_LOSS:
                raise MisconfigurationException(
                    f"{self._sweep.owner}: in {_MAX_STEPS_WITHOUT_LOSS} optimizer steps training_step returned no loss"
                    f" to record: return it, or name a key that is logged as monitor, for example one of"
                    f" {logged_keys(trainer)}."
                )
        else:
            self._steps_without_loss = 0
            self.recorded.add_loss(loss)
            self._batches_since_step = 0
            self._report_point()
            self.recorded.read_block(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._metric is not None:
            self._record(self._metric.read_after_epoch(trainer))

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._module_runs = self._metric is not None  # else it is no part of what is recorded

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._module_runs = False
        if self._metric is not None:
            self._record(self._metric.read_after_validation(trainer))

    @property
    def needs_validation(self) -> bool:
        """Whether the next value waits for the validation loop."""
        return self._metric is not None and self._metric.needs_validation

    def count_as_divergence(self, trainer: Trainer, error: Exception) -> bool:
        """Whether an exception that ended the training is a divergence. If so, it is recorded as NaN."""
        needed = self._sweep.points_before_error
        if needed is None or trainer.world_size > 1 or not self._module_runs or isinstance(error, NEVER_DIVERGENCE):
            return False
        self.recorded.read_losses(trainer)
        if self.recorded.is_over:  # a loss that was not read yet ended the sweep
            return True
        if len(self.recorded.values) < needed:
            return False
        self.error = shorten(f"{type(error).__name__}: {error}", _ERROR_WIDTH)
        self.recorded.end_as_diverged()
        return True

    def _set_lrs(self) -> None:
        for group, ratio in self._ratios:
            set_lr(group, self._sweep.lrs[len(self.recorded)] * ratio)

    def _report_point(self) -> None:
        self._sweep.on_point(self._sweep.lrs[len(self.recorded) - 1], self.recorded.latest)

    def _record(self, metric: float | None) -> None:
        if metric is None:  # it is logged later
            return
        self.recorded.add(metric)
        self._steps_since_point = 0
        self._report_point()
