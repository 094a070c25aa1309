"""What the callbacks that set the learning rate by a schedule have in common."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from typing import Any, ClassVar

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import BaseFinetuning, StochasticWeightAveraging
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch.optim import Optimizer

from lightning_lr.callbacks._arguments import warn_if_changed
from lightning_lr.optimizers.param_groups import lr_ratios, optimizer_names
from lightning_lr.optimizers.step_counter import StepCounter
from lightning_lr.range_test.suggestion import Suggestion
from lightning_lr.schedules.base import Schedule
from lightning_lr.schedules.bounds import Bounds
from lightning_lr.schedules.durations import Duration
from lightning_lr.schedules.inverse_range import InverseRange
from lightning_lr.schedules.preview import Preview, preview
from lightning_lr.schedules.tracker import ScheduleTracker
from lightning_lr.schedules.writer import ScheduleWriter
from lightning_lr.trainer.lr_tracer import LRTracer
from lightning_lr.trainer.run_lengths import steps_per_epoch, steps_per_run

# of every batch: Lightning's call of one takes longer than a step of the schedule
_HOOKS_WITHOUT_USE = ("on_before_zero_grad", "on_before_backward", "on_after_backward", "on_before_optimizer_step")


class ScheduledLR(Callback, ABC):
    """Sets the learning rate of every optimizer step by a schedule between two bounds.

    Each optimizer is counted by its own finished steps. A run that is resumed with a schedule of other lengths goes on
    from the same phase.

    Args:
        arguments: of the constructor, as they go into a checkpoint.
        bounds: None to leave them to `LRRangeTest`.
        lengths: arguments that are durations; None leaves one out.
        optimizer: position of the only one to be driven; all if None.
        momentum: lowest and highest, moved against the learning rate.
        weight_decay: likewise.
    """

    _what_sets_bounds: ClassVar[str]
    state_key = ""  # an attribute in the place of a property: Lightning asks for it at every hook

    def __init__(
        self,
        arguments: dict[str, Any],
        bounds: Bounds | None,
        lengths: Mapping[str, int | str | None],
        optimizer: int | None = None,
        momentum: InverseRange | None = None,
        weight_decay: InverseRange | None = None,
    ) -> None:
        is_position = isinstance(optimizer, int) and not isinstance(optimizer, bool) and optimizer >= 0
        if optimizer is not None and not is_position:
            raise ValueError(f"optimizer must be the position of one, from 0, got {optimizer!r}.")
        self._arguments = arguments
        self._bounds = bounds
        self._bounds_open = bounds is None
        self._durations = {name: Duration.parse(name, length) for name, length in lengths.items() if length is not None}
        self._optimizer_index = optimizer
        self.state_key = type(self).__qualname__ if optimizer is None else self._generate_state_key(optimizer=optimizer)
        self._momentum = None if momentum is None else InverseRange.checked("momentum", momentum, 1.0)
        self._weight_decay = (
            None if weight_decay is None else InverseRange.checked("weight_decay", weight_decay, math.inf)
        )
        self._schedule: Schedule | None = None  # known at the start of training
        self._optimizers: list[Optimizer] = []  # that are driven
        self._counters: list[StepCounter] = []
        self._left_out: list[str] = []  # hooks
        self._trackers: list[ScheduleTracker] = []  # one an optimizer
        self._writer: ScheduleWriter | None = None
        self._before = 0  # optimizer steps of the run before the schedule: a resumed run may begin with one
        self._saved: dict[str, Any] = {}  # `_progress` of a run that has ended or is resumed
        self._tracer = LRTracer()

    @abstractmethod
    def _schedule_for(self, lengths: dict[str, int], run: float, fit: bool) -> tuple[Schedule, float | None]:
        """The schedule, and its own end if that is to be the run's.

        Args:
            lengths: the durations in optimizer steps.
            run: optimizer steps that the schedule has, infinite if not known.
            fit: false in a trial run that is too short for anything.
        """

    @abstractmethod
    def take(self, suggestion: Suggestion) -> str:
        """Take the bounds from a suggestion, and say which call of the constructor would give them."""

    @property
    def bounds_open(self) -> bool:
        """Whether the constructor left the bounds to `LRRangeTest`."""
        return self._bounds_open

    @property
    def units(self) -> set[str]:
        """What its lengths are counted in: "" for steps, "ep" for epochs, "run" for the length of the run."""
        return {duration.unit for duration in self._durations.values()}

    def drives(self, position: int) -> bool:
        """Whether it sets the learning rate of the optimizer at a position in ``configure_optimizers``."""
        return self._optimizer_index in (None, position)

    def preview(self, steps: int, steps_per_epoch: int | None = None) -> Preview:
        """What training would use, without training; `Preview.figure` draws it.

        Args:
            steps: optimizer steps of the run.
            steps_per_epoch: needed where a length is in epochs.

        Raises:
            ValueError: if the bounds were left open, or the number of steps is below 1 or is missing where needed.
        """
        if self._bounds is None:
            raise ValueError(f"A preview of {type(self).__name__} needs its bounds: give {self._what_sets_bounds}.")
        if steps < 1:
            raise ValueError(f"steps must be at least 1, got {steps}.")
        if "ep" in self.units and (steps_per_epoch is None or steps_per_epoch < 1):
            raise ValueError(
                f"steps_per_epoch must be at least 1, since lengths of {type(self).__name__} are in epochs, got"
                f" {steps_per_epoch}."
            )
        lengths = self._lengths_in(math.inf if steps_per_epoch is None else steps_per_epoch, steps)
        schedule, _ = self._schedule_for(lengths, steps, fit=True)
        return preview(schedule, self._bounds, steps, self._momentum, self._weight_decay)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        name = type(self).__name__
        if self._optimizer_index is not None and self._optimizer_index >= len(trainer.optimizers):
            raise MisconfigurationException(
                f"{name}(optimizer={self._optimizer_index}) must name one of the {len(trainer.optimizers)} optimizers,"
                " by its position from 0."
            )
        driven = [optimizer for i, optimizer in enumerate(trainer.optimizers) if self.drives(i)]
        for rival in self._rivals(trainer, driven):
            raise MisconfigurationException(
                f"{name} and {type(rival).__name__} would both set the learning rate: leave one of them out."
            )
        lr_ratios(driven)  # raises where there is no learning rate to cycle
        for key, given in (("momentum", self._momentum), ("weight_decay", self._weight_decay)):
            for optimizer in driven:
                keys = {"momentum", "betas"} if key == "momentum" else {key}
                if given is not None and not all(keys & group.keys() for group in optimizer.param_groups):
                    raise MisconfigurationException(
                        f"{name}({key}={tuple(given)}) needs an optimizer that has {key.replace('_', ' ')}, which"
                        f" {type(optimizer).__name__} has not: leave {key} out."
                    )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # the first hook in which counts, bounds and learning rates are restored under every strategy
        self._tracer.start(trainer, self)
        self._optimizers = [optimizer for i, optimizer in enumerate(trainer.optimizers) if self.drives(i)]
        self._name = (
            optimizer_names(trainer.optimizers)[self._optimizer_index] if self._optimizer_index is not None else ""
        )
        if trainer.global_step == 0 or len(self._saved.get("courses", [])) != len(self._optimizers):
            self._saved = {}  # a new run
        self._writer = ScheduleWriter(
            self._optimizers, self._bounds, self._momentum, self._weight_decay, self._saved.get("groups")
        )
        self._lay_out(trainer)
        self._counters = [
            StepCounter(optimizer, self._goes_on(i), self._trackers[i].count)
            for i, optimizer in enumerate(self._optimizers)
        ]
        self._leave_out_hooks(vars(trainer)["callbacks"])
        self._write()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # by now a range test has set them, wherever it stands in the list
        if self._bounds is None and not vars(trainer)["fast_dev_run"]:
            raise MisconfigurationException(
                f"{type(self).__name__} has no bounds: give {self._what_sets_bounds}, or add LRRangeTest to the"
                f" Trainer, with apply=True and the first epoch in at_epochs, which sets them."
            )

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0:  # finetuning adds groups, and sets their rates, when an epoch starts
            self._write()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._tracer.batch_end(outputs)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch == 0 and not pl_module.automatic_optimization and self.units & {"ep", "run"}:
            expected = steps_per_epoch(trainer)
            for optimizer, tracker in zip(self._optimizers, self._trackers, strict=True):
                if math.isfinite(expected) and tracker.count != expected:
                    rank_zero_warn(
                        f"{type(self).__name__} took an epoch for {expected:g} steps of {type(optimizer).__name__},"
                        f" one a batch, but it made {tracker.count}: give lengths in steps."
                    )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._let_go()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._let_go()

    def state_dict(self) -> dict[str, Any]:
        return {
            "arguments": self._arguments,
            "bounds": None if self._bounds is None else asdict(self._bounds),
            "progress": self._progress(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        saved, now = state_dict["arguments"], self._arguments
        warn_if_changed(type(self).__name__, saved, now)
        of_bounds = [name for name in ("base_lr", "max_lr", "div_factor") if name in now]
        if state_dict["bounds"] is not None and all(saved[name] == now[name] for name in of_bounds):
            self._bounds = Bounds(**state_dict["bounds"])  # they may have been set after the constructor
        self._saved = state_dict["progress"]

    def _progress(self) -> dict[str, Any]:
        """Where a run stands, or stood when it ended; empty before the first."""
        if self._writer is None:
            return self._saved
        return {
            "before": self._before,
            "courses": [tracker.state() for tracker in self._trackers],
            "schedule": self._numbers(),
            "groups": self._writer.state(),
        }

    def _rivals(self, trainer: Trainer, driven: list[Optimizer]) -> list[object]:
        """What else would set the learning rate of the optimizers that are driven."""
        rivals: list[object] = [
            config.scheduler
            for config in trainer.lr_scheduler_configs
            if any(getattr(config.scheduler, "optimizer", optimizer) is optimizer for optimizer in driven)
        ]
        for other in vars(trainer)["callbacks"]:
            both = isinstance(other, ScheduledLR) and other is not self
            if isinstance(other, StochasticWeightAveraging) or (
                both and any(self.drives(i) and other.drives(i) for i in range(len(trainer.optimizers)))
            ):
                rivals.append(other)
        return rivals

    def _lay_out(self, trainer: Trainer) -> None:
        """Build the schedule for this run, and take it up at the phase that a checkpoint's had."""
        # Lightning counts the steps of all optimizers together
        self._before = self._saved.get("before", trainer.global_step // len(trainer.optimizers))
        run = steps_per_run(trainer) - self._before
        lengths = self._lengths_in(steps_per_epoch(trainer), run)
        self._schedule, end = self._schedule_for(lengths, run, fit=not vars(trainer)["fast_dev_run"])
        saved = self._saved.get("courses", [])
        if not saved:
            self._trackers = [ScheduleTracker(self._schedule) for _ in self._optimizers]
        elif self._saved["schedule"] == self._numbers():
            self._trackers = [ScheduleTracker.from_state(self._schedule, each) for each in saved]
        else:
            self._trackers = [ScheduleTracker.from_phase(self._schedule, each, end, run) for each in saved]
            rank_zero_info(f"{type(self).__name__} goes on from its phase with the new lengths.")

    def _lengths_in(self, epoch: float, run: float) -> dict[str, int]:
        return {name: duration.steps(name, epoch, run) for name, duration in self._durations.items()}

    def _numbers(self) -> dict[str, Any]:
        """Numbers that make two schedules the same."""
        if not is_dataclass(self._schedule):
            return {}
        return {name: value for name, value in asdict(self._schedule).items() if name != "scale_fn"}

    def _set_bounds(self, bounds: Bounds) -> None:
        if self._writer is not None:
            self._writer.set_bounds(bounds)
        self._bounds = bounds
        self._write()

    def _goes_on(self, i: int) -> Callable[[int], None]:
        """What happens when an optimizer has finished a step. A closure: it is called at every step."""
        assert self._writer is not None
        tracker, write = self._trackers[i], self._writer.write

        def finished(count: int) -> None:
            tracker.advance(count)
            write(i, tracker.position)

        return finished

    def _write(self) -> None:
        """Set the values of the coming steps."""
        if self._writer is not None:
            for i, tracker in enumerate(self._trackers):
                self._writer.write(i, tracker.position)

    def _traced_values(self) -> dict[str, float]:
        """What is logged beside the learning rate: where the first optimizer's finished step stood."""
        at = f"cyclical_lr/{self._name}/" if self._name else "cyclical_lr/"
        position = self._trackers[0].last_position
        values = {f"{at}cycle": position.cycle, f"{at}phase": position.phase}
        for key, limits in (("momentum", self._momentum), ("weight_decay", self._weight_decay)):
            if limits is not None:
                values[f"{at}{key}"] = limits.at(position.amplitude)
        return values

    def _leave_out_hooks(self, callbacks: list[Callback]) -> None:
        """Keep Lightning from calling hooks without use while it trains: it calls what is callable."""
        self._take_in_hooks()
        if not any(callback is self for callback in callbacks):
            return  # another callback calls them
        finetunes = any(isinstance(callback, BaseFinetuning) for callback in callbacks)
        hooks = _HOOKS_WITHOUT_USE if finetunes else (*_HOOKS_WITHOUT_USE, "on_train_batch_start")
        for hook in hooks:
            if hook not in vars(self) and getattr(type(self), hook) is getattr(ScheduledLR, hook):
                self._left_out.append(hook)
                setattr(self, hook, None)

    def _take_in_hooks(self) -> None:
        for hook in self._left_out:
            vars(self).pop(hook, None)
        self._left_out = []

    def _let_go(self) -> None:
        self._take_in_hooks()
        self._saved = self._progress()  # for a fit that goes on, or a checkpoint that is saved by hand
        for counter in self._counters:
            counter.remove()
        self._counters, self._optimizers, self._writer = [], [], None
        self._tracer.stop()
