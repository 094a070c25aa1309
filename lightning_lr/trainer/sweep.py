"""A sweep: training with a list of learning rates, one after the other, and the loss or metric recorded at each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lightning.pytorch import Trainer

from lightning_lr.trainer.lightning_packages import MisconfigurationException
from lightning_lr.trainer.rehearsal import Rehearsal
from lightning_lr.trainer.sweep_recorder import SweepRecorder


class SweepResult(NamedTuple):
    """What a sweep recorded.

    Attributes:
        values: the loss or metric at each point; fewer than learning rates if the sweep was stopped.
        steps: optimizer steps that were run. May be more than the points need, since losses are read in blocks.
        error: the exception that ended the sweep and counts as a divergence, as text; None if there was none.
    """

    values: list[float]
    steps: int
    error: str | None = None


@dataclass(frozen=True, eq=False)
class Sweep:
    """Trains with each learning rate in turn and records the training loss or a logged metric.

    Without ``monitor`` a point is one optimizer step (in manual optimization: one batch in which an optimizer stepped).
    Its value is the loss, averaged over its micro-batches and over ranks. With ``monitor`` a point is ``steps_per_lr``
    such steps. Then the metric is read: from the logs of the training step if it is there, else from the validation
    loop. A step that AMP skipped is not a point: its learning rate is tried again. After the first point, many skipped
    steps in a row are a divergence, recorded as NaN.

    So is an exception of the module, if ``points_before_error`` are given and there are at least as many points before
    it: a module may refuse NaN, as ``torch.distributions`` does. Errors of the configuration and of memory stay errors.
    With several processes the parameters must also have become NaN or infinite, which all ranks see in the same step:
    an exception that only one rank meets fails the job, as in plain training.

    Args:
        lrs: one learning rate per point, for the parameter group with the highest learning rate. The other groups, of
            all optimizers, keep their ratio to it.
        owner: the name in error messages.
        monitor: a key that the module logs, None for the training loss.
        steps_per_lr: optimizer steps per point; more than 1 only with ``monitor``.
        eval_batches: maximum number of batches of each validation loader.
        should_stop: given the values so far, whether the sweep ends here. It is asked for every point in order. Losses
            are read in blocks, so the training may be some steps ahead; the points of those steps are dropped.
        points_before_error: see above; None if every exception stays an error.
        on_point: called at each point with its learning rate and the latest value that was read, NaN before the first.
    """

    lrs: Sequence[float]
    owner: str
    monitor: str | None = None
    steps_per_lr: int = 1
    eval_batches: int = 1
    should_stop: Callable[[Sequence[float]], bool] = lambda values: False  # noqa: ARG005
    points_before_error: int | None = None
    on_point: Callable[[float, float], None] = lambda lr, value: None  # noqa: ARG005

    def run(self, trainer: Trainer, rehearsal: Rehearsal) -> SweepResult:
        """Run the sweep in a rehearsal, from its current state.

        Raises:
            MisconfigurationException: if the data ended early, or there was no loss or no such metric to record.
        """
        recorder = SweepRecorder(self, trainer)
        handles = [optimizer.register_step_post_hook(recorder.after_step) for optimizer in trainer.optimizers]
        try:
            rehearsal.train(
                recorder,
                should_stop=lambda: recorder.is_over,
                should_validate=lambda: recorder.needs_validation,
                eval_batches=self.eval_batches if self.monitor else None,
            )
        except Exception as error:
            if not recorder.count_as_divergence(trainer, error):
                raise
        finally:
            for handle in handles:
                handle.remove()
        recorder.read_losses(trainer)
        if not recorder.is_over:
            raise MisconfigurationException(
                f"{self.owner} needs {len(self.lrs) * self.steps_per_lr} optimizer steps, but the training data"
                f" ended after {len(recorder.values) * self.steps_per_lr}: lower num_steps."
            )
        return SweepResult(recorder.values, recorder.steps, recorder.error)
