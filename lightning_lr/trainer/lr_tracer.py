"""The trace of learning rates and losses during training."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from lightning_lr.optimizers.param_groups import effective_lr, optimizer_names, unique_group_names
from lightning_lr.optimizers.step_counter import HAS_NO_HOOKS, has_step_hooks
from lightning_lr.trainer.loggers import flush, log_metrics
from lightning_lr.trainer.metrics_on_read import MetricsOnRead
from lightning_lr.trainer.monitor_names import monitor_names, monitor_suffixes
from lightning_lr.trainer.step_loss import StepLoss
from lightning_lr.trainer.tensorboard_charts import TRAINING_CHARTS, Charts, how_to_open, log_layout

# Seconds for which points are collected before the loggers get them together. Short enough to watch a run live.
_MAX_DELAY = 1.0
_CPU = torch.device("cpu")

ExtraValues = Callable[[], dict[str, float]]


@runtime_checkable
class TracesLR(Protocol):
    """A callback that traces learning rates.

    Attributes:
        lr_tracer: started and stopped by the callback.
    """

    lr_tracer: LRTracer


class LRTracer:
    """Logs the learning rate of every group and the loss of an optimizer step, every ``log_every_n_steps``.

    The learning rates of every step also stand in ``trainer.callback_metrics``, without a logger too, for
    ``EarlyStopping`` and ``ModelCheckpoint``: under the logged keys, and under the names of Lightning's
    ``LearningRateMonitor``.

    Each of our callbacks has one. Only the tracer of the first of them in the Trainer logs; it adds the extra values of
    the others. The loggers get points together, once a second, so that no step waits for a logger or for the device.

    Args:
        extra_values: called after a step that is logged; gives what the callback adds to the point.
        charts: of TensorBoard, that show what the callback logs.

    Attributes:
        before_flush: called before the loggers get points; may log what has come up since.
    """

    def __init__(self, extra_values: ExtraValues = dict, charts: Iterable[Charts] = ()) -> None:
        self._extra_values = extra_values
        self._charts = list(charts)
        self.before_flush: Callable[[], None] | None = None
        self._trace: _Trace | None = None  # while training, in the tracer that logs

    def start(self, trainer: Trainer, owner: TracesLR) -> None:
        """Start a trace. To be called in ``on_train_start``.

        It must come before the owner registers its own step hooks: the trace reads the learning rate after a step,
        before another hook sets the next one.
        """
        self.stop()
        tracing = [callback for callback in vars(trainer)["callbacks"] if isinstance(callback, TracesLR)]
        if not tracing or tracing[0] is owner:  # none: another callback holds the owner, and calls its hooks
            tracers = [callback.lr_tracer for callback in tracing or [owner]]
            self._trace = _Trace(trainer, tracers)
            log_layout(trainer, [TRAINING_CHARTS, *(charts for tracer in tracers for charts in tracer._charts)])

    def batch_end(self, outputs: Any) -> None:
        """To be called in ``on_train_batch_end``, with its outputs."""
        if self._trace is not None and self._trace.is_due():
            self._trace.batch_end(outputs)

    def flush(self) -> None:
        """Give the loggers the points that were collected for them."""
        if self._trace is not None:
            self._trace.flush()

    def stop(self) -> None:
        """End the trace. To be called when training ends, with or without an error."""
        trace, self._trace = self._trace, None
        if trace is not None:
            trace.close()


class _Names(NamedTuple):
    """The names of what is read of an optimizer at each step: the learning rates of groups, then those in effect.

    Attributes:
        counts: of the parameter groups, of those with a learning rate, and of those with one in effect too.
        logged: the keys for loggers.
        monitored: the names that Lightning's ``LearningRateMonitor`` uses.
    """

    counts: tuple[int, int, int]
    logged: list[str]
    monitored: list[str]


class _Trace:
    """The trace of one run."""

    def __init__(self, trainer: Trainer, tracers: list[LRTracer]) -> None:
        self._trainer = trainer
        self._epoch_loop = trainer.fit_loop.epoch_loop
        self._log_every: int = vars(trainer)["log_every_n_steps"] if trainer.loggers else 0  # 0: never
        self._tracers = tracers
        self._loss = StepLoss()
        self._has_stepped = False  # whether the current step has been made, if it is logged
        self._used_lrs: dict[str, float | Tensor] = {}  # of this step
        self._points: list[tuple[int, dict[str, float | Tensor]]] = []  # that the loggers have not got yet
        self._oldest_time = 0.0  # of the first of these points
        self._optimizer_names = dict(zip(trainer.optimizers, optimizer_names(trainer.optimizers), strict=True))
        self._monitor_names = monitor_names(trainer)
        self._names: dict[Optimizer, _Names] = {}  # as they were at the last step
        self._dtype = torch.get_default_dtype()  # Lightning changes it while a step runs in another precision
        self._unread_lrs: dict[Optimizer, tuple[_Names, list[float | Tensor]]] = {}  # of the last step
        self._handles: list[RemovableHandle] = []
        for optimizer, name in self._optimizer_names.items():
            if has_step_hooks(optimizer):
                self._handles.append(optimizer.register_step_post_hook(self._reader(optimizer)))
            else:
                rank_zero_warn(f"The steps of {name} are not traced. It {HAS_NO_HOOKS}.")
        self._metrics = MetricsOnRead(trainer, self._unread_metrics)

    def is_due(self) -> bool:
        """Whether the current step is logged. The same as Lightning's ``should_update_logs``, with fewer look-ups."""
        return self._log_every > 0 and (self._epoch_loop._batches_that_stepped + 1) % self._log_every == 0

    def batch_end(self, outputs: Any) -> None:
        """To be called for a step that is due."""
        self._loss.add(outputs)
        if not self._has_stepped:
            self._loss.batch_without_step(self._trainer)
            return
        point, self._used_lrs, self._has_stepped = self._used_lrs, {}, False
        for tracer in self._tracers:
            point.update(tracer._extra_values())
        loss = self._loss.pop_mean(self._trainer)
        if loss is not None:
            point["lr/loss"] = loss
        if not self._points:
            self._oldest_time = time.monotonic()
        self._points.append((self._epoch_loop._batches_that_stepped, point))
        if time.monotonic() - self._oldest_time > _MAX_DELAY:
            self.flush()

    def close(self) -> None:
        try:
            self.flush()
        except Exception:
            # After a device error nothing can be read from the device. The user should see that error, not this one.
            if not self._trainer.interrupted:
                raise
        finally:
            for handle in self._handles:
                handle.remove()
            self._metrics.end()
        if not self._trainer.interrupted and (line := how_to_open(self._trainer)):
            rank_zero_info(line)

    def flush(self) -> None:
        for tracer in self._tracers:
            if tracer.before_flush is not None:
                tracer.before_flush()
        points, self._points = self._points, []
        for step, point in points:
            values = {key: float(value) for key, value in point.items()}
            log_metrics(self._trainer, {key: value for key, value in values.items() if math.isfinite(value)}, step)
        flush(self._trainer)

    def _reader(self, optimizer: Optimizer) -> Callable[..., None]:
        """The hook of an optimizer. Of a wrapper that shares its hooks, torch would give it the optimizer inside.

        A rehearsal knows it by its module, which a `functools.partial` does not have.
        """
        all_names, unread_lrs = self._names, self._unread_lrs

        def read_lrs(*_: object) -> None:
            # Called at every step, so it has few calls of its own: they would show in the cost of a step.
            lrs: list[float | Tensor] = []
            effective: list[float | Tensor] = []
            for group in optimizer.param_groups:
                if "lr" not in group:  # an optimizer of one's own may have none
                    continue
                lr = group["lr"]
                lrs.append(lr.detach().clone() if isinstance(lr, Tensor) else lr)  # a tensor will be filled in place
                if (lr := effective_lr(group)) is not None:
                    effective.append(lr.detach().clone() if isinstance(lr, Tensor) else lr)
            names = all_names.get(optimizer)
            counts = len(optimizer.param_groups), len(lrs), len(effective)
            # A finetuning callback may add groups, and a state that is loaded may add or take a rate in effect.
            if names is None or names.counts != counts:
                names = all_names[optimizer] = self._names_of(optimizer, counts)
            lrs += effective
            unread_lrs[optimizer] = names, lrs
            if self.is_due():
                self._has_stepped = True
                self._used_lrs.update(zip(names.logged, lrs, strict=True))

        return read_lrs

    def _unread_metrics(self) -> dict[str, Tensor]:
        """The learning rates since the last read, for ``trainer.callback_metrics``."""
        metrics: dict[str, Tensor] = {}
        for names, lrs in self._unread_lrs.values():
            for key, monitored, lr in zip(names.logged, names.monitored, lrs, strict=True):
                # On the CPU: Lightning takes metrics of any device, and a copy to one would wait for it.
                metric = lr if isinstance(lr, Tensor) else torch.tensor(lr, dtype=self._dtype, device=_CPU)
                metrics[key] = metrics[monitored] = metric
        self._unread_lrs.clear()
        return metrics

    def _names_of(self, optimizer: Optimizer, counts: tuple[int, int, int]) -> _Names:
        name, names = self._optimizer_names[optimizer], unique_group_names(optimizer)
        logged = [f"lr/{name}"] if len(names) == 1 else [f"lr/{name}/{group}" for group in names]
        monitored = [self._monitor_names[optimizer] + suffix for suffix in monitor_suffixes(optimizer)]
        with_lr = [i for i, group in enumerate(optimizer.param_groups) if "lr" in group]
        adapting = [i for i in with_lr if effective_lr(optimizer.param_groups[i]) is not None]
        return _Names(
            counts=counts,
            logged=[logged[i] for i in with_lr] + [f"{logged[i]}/effective" for i in adapting],
            monitored=[monitored[i] for i in with_lr] + [f"effective_{monitored[i]}" for i in adapting],
        )
