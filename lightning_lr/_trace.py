"""Points and figures for every logger, and the trace of learning rates and losses during training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch.optim import Optimizer

from lightning_lr._step_loss import StepLoss
from lightning_lr.param_groups import group_names, optimizer_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def current_step(trainer: Trainer) -> int:
    """The step at which Lightning itself logs: batches that ended in an optimizer step."""
    return trainer.fit_loop.epoch_loop._batches_that_stepped


def log_metrics(trainer: Trainer, metrics: Mapping[str, float], step: int | None = None) -> None:
    """One point to every logger, at Lightning's own step unless told. Values that belong together go in one call:
    TensorBoard samples the points of a tag, and keeps the same steps for tags that are logged together."""
    for logger in trainer.loggers:
        logger.log_metrics(dict(metrics), step=current_step(trainer) if step is None else step)


def tensorboard_writers(trainer: Trainer) -> list[Any]:
    """The SummaryWriters of TensorBoard loggers; none on ranks other than 0."""
    boards = [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
    return [board.experiment for board in boards] if trainer.is_global_zero else []


def log_figure(trainer: Trainer, tag: str, figure: Figure, step: int) -> None:
    """A figure to TensorBoard. ``add_figure`` would close it by pyplot, of which it knows nothing."""
    for writer in tensorboard_writers(trainer):
        writer.add_figure(tag, figure, step, close=False)


def log_loss_vs_lr(trainer: Trainer, tag: str, lrs: Iterable[float], losses: Iterable[float]) -> None:
    """A chart of loss against learning rate in stock TensorBoard: 1000 log10 lr stands where the step does.

    All runs overlaid, on a log axis: -3000 is 1e-3. Points that fall on the step of one before are left out, since
    steps of a tag must grow.
    """
    points: dict[int, float] = {}
    for lr, loss in zip(lrs, losses, strict=True):
        if math.isfinite(loss):
            points.setdefault(round(1000 * math.log10(lr)), loss)
    for writer in tensorboard_writers(trainer):
        for step, loss in points.items():
            writer.add_scalar(tag, loss, step)


class LRTracer:
    """Logs the learning rate of every group and the loss, as they were in an optimizer step.

    Held by each of our callbacks; the first of them in the Trainer logs. It acts only every ``log_every_n_steps``: on
    other steps a comparison is all it costs.
    """

    def __init__(self) -> None:
        self._trainer: Trainer | None = None  # None: another one logs, or training is over
        self._loss = StepLoss()
        self._used: dict[str, Any] = {}
        self._handles: list[Any] = []

    def start(self, trainer: Trainer, owner: Callback) -> None:
        """To be called in ``on_train_start``, before the owner puts step hooks of its own on the optimizers: this one
        reads the learning rate right behind the step, before anything sets the next."""
        self.stop()
        tracers = [c for c in vars(trainer)["callbacks"] if isinstance(getattr(c, "_tracer", None), LRTracer)]
        if not trainer.loggers or tracers[0] is not owner:
            return
        self._trainer = trainer
        for optimizer, name in zip(trainer.optimizers, optimizer_names(trainer.optimizers), strict=True):
            self._handles.append(optimizer.register_step_post_hook(self._reader(name)))

    def stop(self) -> None:
        """To be called when training ends, however it does."""
        for handle in self._handles:
            handle.remove()
        self.__init__()  # type: ignore[misc]

    def batch_end(self, outputs: Any, more: Callable[[], dict[str, float]] = dict) -> None:
        """To be called in ``on_train_batch_end``; ``more`` is asked for further values of a point that is logged."""
        if self._trainer is None or not self._trainer._logger_connector.should_update_logs:
            return
        self._loss.add(outputs)
        if self._used:
            loss = self._loss.take(self._trainer)
            metrics = {key: float(lr) for key, lr in self._used.items()}
            self._used = {}
            if loss is not None and math.isfinite(value := loss.item()):
                metrics["lr/loss"] = value
            log_metrics(self._trainer, {**metrics, **more()})

    def _reader(self, name: str) -> Callable[[Optimizer, Any, Any], None]:
        def read(optimizer: Optimizer, args: Any, kwargs: Any) -> None:  # noqa: ARG001
            if self._trainer is not None and self._trainer._logger_connector.should_update_logs:
                groups = optimizer.param_groups
                keys = [f"lr/{name}"] if len(groups) == 1 else [f"lr/{name}/{each}" for each in group_names(optimizer)]
                for key, group in zip(keys, groups, strict=True):
                    lr = group["lr"]
                    self._used[key] = lr.detach().clone() if isinstance(lr, torch.Tensor) else lr

        return read
