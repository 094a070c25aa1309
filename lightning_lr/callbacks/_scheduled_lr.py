"""`ScheduledLR`: the base of all callbacks that set the learning rate by a schedule.

To add one, write the schedule in `lightning_lr.schedules`, and its callback as `warmup_stable_decay_lr.py` does.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, ClassVar

from lightning.pytorch import LightningModule, Trainer
from torch.optim import Optimizer

from lightning_lr.arguments import checked, whole
from lightning_lr.callbacks import _optimizer_checks as checks
from lightning_lr.callbacks._applied import Applied
from lightning_lr.callbacks._argument_rules import PREVIEW
from lightning_lr.callbacks._replaced_schedulers import ReplacedSchedulers
from lightning_lr.callbacks._saved_arguments import warn_if_changed
from lightning_lr.callbacks._saved_state import checked_state, header
from lightning_lr.callbacks._schedule_run import TIMED_STEPS, FittedSchedule, ScheduleRun, timed_run_clock
from lightning_lr.callbacks._skipped_hooks import SkippedHooks
from lightning_lr.callbacks._state_rules import SCHEDULE
from lightning_lr.optimizers.param_groups import optimizer_names
from lightning_lr.range_test.suggestion import Suggestion
from lightning_lr.schedules.bounds import Bounds
from lightning_lr.schedules.durations import Duration
from lightning_lr.schedules.inverse_range import InverseRange
from lightning_lr.schedules.preview import Preview, preview
from lightning_lr.schedules.writer import ScheduleWriter
from lightning_lr.trainer.lightning_packages import Callback, MisconfigurationException, either
from lightning_lr.trainer.lr_tracer import LRTracer
from lightning_lr.trainer.run_clock import RunClock
from lightning_lr.trainer.run_lengths import check_run_has_end, run_lengths

_FINETUNING = either("callbacks.BaseFinetuning")


class ScheduledLR(Callback, ABC):
    """Sets the learning rate of every optimizer step by a schedule between two bounds, see `CyclicalLR`.

    Args:
        arguments: constructor arguments, as they are saved in a checkpoint.
        bounds: of the learning rate; None to leave them to `LRRangeTest`.
        lengths: constructor arguments that are durations; those that are None are left out.
        optimizer: position of the only optimizer to be driven; all if None.
        momentum: lowest and highest value, moved inversely to the learning rate.
        weight_decay: likewise.
        replace_scheduler: whether torch's schedulers of the driven optimizers do not step.

    Attributes:
        bounds_left_open: whether the constructor left the bounds to `LRRangeTest`.
    """

    _bound_arguments: ClassVar[str]  # constructor arguments that set the bounds, for error messages
    state_key = ""  # an attribute, not a property, since Lightning reads it at every hook

    def __init__(
        self,
        arguments: dict[str, Any],
        bounds: Bounds | None,
        lengths: Mapping[str, int | str | None],
        optimizer: int | None = None,
        momentum: tuple[float, float] | None = None,
        weight_decay: tuple[float, float] | None = None,
        replace_scheduler: bool = False,
    ) -> None:
        self._arguments = arguments
        self._bounds = bounds
        self.bounds_left_open = bounds is None
        self._durations = {name: Duration.parse(name, length) for name, length in lengths.items() if length is not None}
        self._optimizer_index = optimizer
        self.state_key = type(self).__qualname__ if optimizer is None else self._generate_state_key(optimizer=optimizer)
        self._momentum = None if momentum is None else InverseRange.checked("momentum", momentum, 1.0)
        limits = weight_decay
        self._weight_decay = None if limits is None else InverseRange.checked("weight_decay", limits, math.inf)
        self._replaced_schedulers = ReplacedSchedulers(replace_scheduler)
        self._run: ScheduleRun | None = None  # while training
        self._saved_run: dict[str, Any] = {}  # state of the last run, or of the one that is resumed
        self._skipped_hooks = SkippedHooks(self)
        self._tag = "cyclical_lr/"
        self._logs_position: bool = arguments.get("log_position", False)
        self.lr_tracer = LRTracer(self._position_values)

    @abstractmethod
    def set_bounds_from(self, suggestion: Suggestion) -> Applied:
        """Set the bounds to those that a range test or a search suggests, and say so."""

    @abstractmethod
    def _build_schedule(self, lengths: dict[str, int], run_steps: float, fast_dev_run: bool) -> FittedSchedule:
        """The schedule of a run.

        Args:
            lengths: the durations in optimizer steps.
            run_steps: optimizer steps of the run, infinite if not known.
            fast_dev_run: whether the run has only a few steps, into which the lengths need not fit.
        """

    @property
    def length_units(self) -> set[str]:
        """Units of what it counts: "" for optimizer steps, "ep" for epochs, "run" for shares of the run."""
        return {duration.unit for duration in self._durations.values()}

    @checked(index=whole(at_least=0))
    def drives_optimizer(self, index: int) -> bool:
        """Whether it sets the learning rate of the optimizer at this position in ``configure_optimizers``."""
        return self._optimizer_index in (None, index)

    @checked(**PREVIEW)
    def preview(self, steps: int, steps_per_epoch: int | None = None) -> Preview:
        """The values that training will use. `Preview.figure` draws them.

        Args:
            steps: optimizer steps of the run.
            steps_per_epoch: needed if a length is in epochs.

        Raises:
            ValueError: if the bounds were left open, or a number of steps is below 1 or needed and missing.
        """
        name = type(self).__name__
        if self._bounds is None:
            raise ValueError(f"A preview of {name} needs its bounds: give {self._bound_arguments}.")
        if "ep" in self.length_units and steps_per_epoch is None:
            raise ValueError(f"steps_per_epoch must be given, since lengths of {name} are in epochs, got None.")
        lengths = self._lengths_in_steps(math.inf if steps_per_epoch is None else steps_per_epoch, steps)
        schedule = self._build_schedule(lengths, steps, fast_dev_run=False).schedule
        return preview(schedule, self._bounds, steps, self._momentum, self._weight_decay)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        name = type(self).__name__
        checks.check_optimizer_index(name, self._optimizer_index, trainer)
        driven = self._driven_optimizers(trainer)
        self._replaced_schedulers.replace(name, driven, trainer)
        checks.check_sole_driver(self, trainer)
        checks.check_lrs_can_be_set(name, driven)
        if not RunClock.has_time_limit(trainer):
            check_run_has_end(trainer, self._durations)
        for key, limits in (("momentum", self._momentum), ("weight_decay", self._weight_decay)):
            checks.check_hyperparameter(name, key, limits, driven)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # all is restored by now
        self.lr_tracer.start(trainer, self)
        if self._optimizer_index is not None:
            self._tag = f"cyclical_lr/{optimizer_names(trainer.optimizers)[self._optimizer_index]}/"
        self._run = self._start_run(trainer)
        callbacks = vars(trainer)["callbacks"]
        finetunes = any(isinstance(callback, _FINETUNING) for callback in callbacks)
        self._skipped_hooks.skip(callbacks, [] if finetunes else [ScheduledLR.on_train_batch_start])

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # By now a range test has set the bounds, wherever it stands in the list of callbacks.
        if self._bounds is None and not vars(trainer)["fast_dev_run"]:
            raise MisconfigurationException(
                f"{type(self).__name__} has no bounds: give {self._bound_arguments}, or add LRRangeTest to the"
                f" Trainer, with apply=True and the first epoch in at_epochs, which sets them."
            )

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        # Finetuning callbacks add groups and set their learning rates when an epoch starts.
        if batch_idx == 0 and self._run is not None:
            self._run.write()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.lr_tracer.batch_end(outputs)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if (run := self._run) is not None and self.length_units & {"ep", "run"}:
            counts = {optimizer: tracker.count for optimizer, tracker in zip(run.optimizers, run.trackers, strict=True)}
            if not checks.check_steps_of_epoch(type(self).__name__, run.epoch_steps, counts, trainer):
                run.epoch_steps = math.inf  # said once

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._end_run()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._replaced_schedulers.restore(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._end_run()
        self.on_fit_end(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        return {
            **header(self),
            "arguments": self._arguments,
            "bounds": None if self._bounds is None else asdict(self._bounds),
            "progress": self._saved_run if self._run is None else self._run.state(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        state = checked_state(self, state_dict, SCHEDULE)
        changed = warn_if_changed(type(self).__name__, state["arguments"], self._arguments)
        if state["bounds"] is not None and not changed & {"base_lr", "max_lr", "div_factor"}:
            self._bounds = Bounds(**state["bounds"])  # may have been set after the constructor
        self._saved_run = state["progress"]

    def _set_bounds(self, bounds: Bounds) -> None:
        if self._run is not None:
            self._run.set_bounds(bounds)
        self._bounds = bounds

    def _start_run(self, trainer: Trainer) -> ScheduleRun:
        """Begin the schedule, or go on where the saved run stood."""
        optimizers = self._driven_optimizers(trainer)
        saved = self._saved_run
        if trainer.global_step == 0 or len(saved.get("courses", [])) != len(optimizers):
            saved = self._saved_run = {}  # a new run
        writer = ScheduleWriter(optimizers, self._bounds, self._momentum, self._weight_decay, saved.get("groups"))
        # Lightning counts the steps of all optimizers together.
        steps_before = saved.get("before", trainer.global_step // len(trainer.optimizers))
        lengths = run_lengths(trainer, saved)
        clock = timed_run_clock(type(self).__name__, self.length_units, lengths.run_steps, trainer)
        lengths = lengths._replace(run_steps=lengths.run_steps - steps_before if clock is None else TIMED_STEPS)
        durations = self._lengths_in_steps(lengths.epoch_steps, lengths.run_steps)
        fitted = self._build_schedule(durations, lengths.run_steps, fast_dev_run=bool(vars(trainer)["fast_dev_run"]))
        run = ScheduleRun(optimizers, fitted, writer, lengths, steps_before, clock, saved)
        if run.goes_on_from_phase or run.has_used_its_time:
            checks.report_new_lengths(type(self).__name__, run)
        return run

    def _end_run(self) -> None:
        self._skipped_hooks.restore()
        if self._run is not None:
            self._saved_run = self._run.state()  # for another fit, or a checkpoint that is saved after this one
            self._run.detach()
            self._run = None
        self.lr_tracer.stop()

    def _driven_optimizers(self, trainer: Trainer) -> list[Optimizer]:
        return [optimizer for i, optimizer in enumerate(trainer.optimizers) if self.drives_optimizer(i)]

    def _lengths_in_steps(self, epoch_steps: float, run_steps: float) -> dict[str, int]:
        return {name: duration.steps(name, epoch_steps, run_steps) for name, duration in self._durations.items()}

    def _position_values(self) -> dict[str, float]:
        """The values that are logged with the learning rate: those of the first optimizer's last step."""
        assert self._run is not None
        position = self._run.trackers[0].last_position
        shown = {"cycle": float(position.cycle), "phase": position.phase} if self._logs_position else {}
        values = {f"{self._tag}{key}": value for key, value in shown.items()}
        for key, limits in (("momentum", self._momentum), ("weight_decay", self._weight_decay)):
            if limits is not None:
                values[f"{self._tag}{key}"] = limits.at(position.amplitude)
        return values
