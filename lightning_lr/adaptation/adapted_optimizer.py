"""An optimizer whose learning rates adapt: the controller, told of the loss one step later, and the guard."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from lightning_lr.adaptation.controller import LRController
from lightning_lr.adaptation.guard import Guard
from lightning_lr.adaptation.measurement import MeasurementQueue, mean_over_processes
from lightning_lr.adaptation.report import AdaptationReport
from lightning_lr.optimizers.step_counter import StepCounter


class AdaptedOptimizer:
    """Runs the controller of one optimizer in training.

    Before each step, the `before_step` of the controller is to be called, which measures. What it measures is read
    after the next step, so that no step waits for the device.

    Args:
        name: of the optimizer, in logs and messages.
        controller: of its learning rates.
        warn: shows a warning.
        after_return: called when the parameters were set back to the anchor, to reset what the optimizer does not hold.
        guard: whether to return to the anchor, if there is one, when training has diverged.

    Attributes:
        report: what the user is told of it.
    """

    def __init__(
        self,
        name: str,
        controller: LRController,
        *,
        warn: Callable[[str], None],
        after_return: Callable[[], None],
        guard: bool,
    ) -> None:
        self.name, self.controller, self.optimizer = name, controller, controller.optimizer
        self.warn = warn
        self._uses_loss = controller.adapts_by_anchor
        self.report = AdaptationReport(name, controller)
        self._guard = Guard(name, controller, warn=warn, after_return=after_return, acts=guard)
        self._queue = MeasurementQueue()
        self._losses: list[Tensor | None] = []  # of the batches since the last measurement, on the device
        self._counter = StepCounter(self.optimizer, self._after_step, run_first=True)
        self._steps_at_batch_end = self._counter.count = controller.steps

    def watch(self, schedulers: Iterable[Any], *, warns: bool = False) -> None:
        """Let the schedulers of this optimizer step on scheduled learning rates, and warn if it has another one."""
        for scheduler in schedulers:
            if getattr(scheduler, "optimizer", None) is self.optimizer:
                self.controller.scales.lrs.watch(scheduler)
        if warns and self.controller.scales.lrs.has_unwatched_scheduler():
            self.warn(
                f"HypergradientLR: {self.name} has a scheduler that configure_optimizers does not return. It would read"
                " back the scaled learning rate and scale it again: return it."
            )

    def take_lrs(self, *, are_scaled: bool) -> None:
        """Take learning rates that others have set for the coming step: see `ScaledLRs.take`."""
        self.controller.scales.lrs.take(are_scaled)
        self.controller.write()

    def has_stepped(self) -> bool:
        """Whether the optimizer has begun a step since the last `batch_end`."""
        return self.controller.steps != self._steps_at_batch_end

    def batch_end(self, loss: Tensor | None) -> None:
        """To be called after each batch in which the optimizer has begun a step.

        Args:
            loss: of the step, a scalar on the device; None if there is none.
        """
        self._steps_at_batch_end = self.controller.steps
        if self._uses_loss:
            self._losses.append(loss)
        known = self._queue.take()  # of earlier batches
        for measurement in self.controller.measured:
            self._queue.put(measurement, self._losses)
            self._losses = []
        self.controller.measured.clear()
        for measurement in known:
            if self._guard.takes_back(measurement):
                self._drop_measurements()
                return
            is_new = self.controller.decide(measurement, self._guard.state_of_loss())
            if not self.controller.adapts:
                self.report.add_cosines(is_new)
        self.controller.write_if_due()

    def average_losses(self) -> list[float | None]:
        """The losses since the last measurement, for a checkpoint: see `mean_over_processes`."""
        means = mean_over_processes(self._losses, self.controller.device)
        self._losses = [None if mean is None else torch.tensor(mean) for mean in means]
        return means

    def restart(self) -> None:
        """Begin again with a scale of 1, from the learning rates that are set now. They are known to be good."""
        self._drop_measurements()
        self._guard.restart()
        self.controller.restart()

    def detach(self) -> None:
        """Remove all hooks from the optimizer and its schedulers."""
        self._counter.remove()
        self.controller.scales.lrs.detach()

    def state(self, with_vectors: bool) -> dict[str, Any]:
        """For a checkpoint, in plain numbers, lists and tensors."""
        return {
            "adaptation": self.controller.state(with_vectors),
            **self._guard.state(),
            "late": self._queue.state(),
            "losses": [None if loss is None else float(loss) for loss in self._losses],
        }

    def resume(self, state: dict[str, Any], *, is_new_fit: bool, is_same_rule: bool) -> None:
        """Continue from what `state` gave.

        Args:
            state: of an earlier run.
            is_new_fit: the optimizers and schedulers are new, so only what was learned of learning rates is taken.
            is_same_rule: false if the rule or the division into groups is another, so only what the scheduled learning
                rates were is taken.
        """
        if is_new_fit:
            self.controller.load_groups(state["adaptation"])
        elif is_same_rule:
            self._load_state(state)
        else:
            self.controller.scales.load_scheduled_lrs(state["adaptation"])
        self.controller.steps = state["adaptation"].get("steps", self.controller.steps)  # older checkpoints lack it
        self._steps_at_batch_end = self._counter.count = self.controller.steps

    def _load_state(self, state: dict[str, Any]) -> None:
        self.controller.load_state(state["adaptation"])
        self._guard.load_state(state)
        self._queue.load_state(state["late"])
        self._losses = [None if loss is None else torch.tensor(loss) for loss in state["losses"]]

    def _after_step(self, count: int) -> None:
        if count > self.controller.steps:
            raise RuntimeError(
                f"HypergradientLR was not told of a step of {self.name} before it was made: step the optimizers that"
                " self.optimizers() returns, not the torch optimizers themselves."
            )
        self.controller.after_step()

    def _drop_measurements(self) -> None:
        """Drop what was measured before a restart or a return; a loss that is not finite would count twice."""
        self.controller.measured.clear()
        self._queue.clear()
        self._losses.clear()
