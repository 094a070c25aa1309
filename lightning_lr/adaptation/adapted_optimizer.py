"""An optimizer whose learning rates adapt: the controller, with the loss, the delay of one step, and the guard."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_lr.adaptation import constants
from lightning_lr.adaptation.controller import LRController
from lightning_lr.adaptation.divergence import DivergenceDetector
from lightning_lr.adaptation.loss_level import LossLevel
from lightning_lr.adaptation.measurement import Measurement, MeasurementQueue, mean_over_processes
from lightning_lr.adaptation.scaled_group import ScaledGroup
from lightning_lr.optimizers.param_groups import group_names
from lightning_lr.optimizers.step_counter import StepCounter

_ROUNDING = 1e-6  # above that of float32, in which a learning rate may be


class _Cosines(NamedTuple):
    """The cosines of one scaled group in an epoch."""

    number: int = 0
    total: float = 0.0
    total_of_squares: float = 0.0

    def add(self, cosine: float) -> _Cosines:
        return _Cosines(self.number + 1, self.total + cosine, self.total_of_squares + cosine**2)


class AdaptedOptimizer:
    """Runs the controller of one optimizer in training.

    What is measured before one step is read after the next one, so that no step waits for the device.

    Args:
        name: of the optimizer, in logs and messages.
        controller: of its learning rates.
        warn: shows a warning.
        after_return: called when the parameters were set back to the anchor, to reset what the optimizer does not hold.
        guard: whether to return to the anchor, if there is one, when training has diverged.
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
        self.warn, self._after_return = warn, after_return
        self._uses_loss = controller.adapts_by_anchor
        self._guards = guard and controller.adapts_by_anchor
        self._has_guard_ended = False
        self._measured: list[Measurement] = []  # in the current batch, whose loss is not known yet
        self._queue = MeasurementQueue()
        self._detector = DivergenceDetector()
        self._losses: list[Tensor | None] = []  # of the batches since the last measurement, on the device
        self._cosines: dict[str, _Cosines] = {}  # of this epoch
        self._counter = StepCounter(self.optimizer, self._after_step, run_first=True)
        self._steps_at_batch_end = self._counter.count = controller.steps
        self._not_finite_at_epoch_end = 0

    def before_step(self, loss_scale: Tensor | None) -> None:
        """To be called before each step of the optimizer, when the gradients are there: see `LRController`."""
        measured = self.controller.before_step(loss_scale)
        if measured is not None:
            self._measured.append(measured)

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
        for measurement in self._measured:
            self._queue.put(measurement, self._losses)
            self._losses = []
        self._measured.clear()
        for measurement in known:
            sign = self._sign_of_divergence(measurement)
            if sign is not None and self._detector.returns == constants.MAX_RETURNS:
                self._end_guard()
            elif sign is not None:  # one that is not finite may come of one bad batch, at any learning rate
                self._return_to_anchor(lr_is_cause=math.isfinite(sign))
                return
            self._keep_or_move_anchor()
            is_new = self.controller.decide(measurement, self._detector.losses.state_of_loss())
            if not self.controller.adapts:
                self._add_cosines(is_new)
        self.controller.write_if_due()

    def average_losses(self) -> list[float | None]:
        """The losses since the last measurement, for a checkpoint: see `mean_over_processes`."""
        means = mean_over_processes(self._losses, self.controller.device)
        self._losses = [None if mean is None else torch.tensor(mean) for mean in means]
        return means

    def named_groups(self) -> Iterator[tuple[str, ScaledGroup]]:
        """The scaled groups, with their names in logs."""
        groups = self.controller.groups
        names = [self.name] if len(groups) == 1 else [f"{self.name}/{n}" for n in group_names(self.optimizer)]
        return zip(names, groups, strict=False)

    def summary(self) -> str:
        """The learning rates that were reached before the final decay, and the argument that has kept them there."""
        controller = self.controller
        known = [(*pair, lr) for pair, lr in zip(self.named_groups(), controller.scales.reached_lrs(), strict=False)]
        reached = [
            f"{lr:.3g} for {name} (scale: {group.scale:.3g}, sign changes: {group.rule.sign_changes})"
            for name, group, lr in known
        ]
        text = f"the learning rate has come to {', '.join(reached)}{controller.scales.note_of_decay()}."
        if controller.freeze_after == controller.adapts_until < controller.steps:
            text += f" freeze_after has kept the scale since step {controller.freeze_after:g}."
        for name, group, lr in known:
            if lr >= group.max_lr * (1 - _ROUNDING):
                text += f" max_lr has kept {name} from a higher one."
        return text

    def verdicts(self) -> Iterator[str]:
        """What the cosines since the last call say of the learning rates, in a sentence for each scaled group."""
        for name, (number, total, total_of_squares) in self._cosines.items():
            mean, rms = total / number, math.sqrt(total_of_squares / number)
            is_balanced = abs(mean) <= constants.BALANCED_SHARE * rms
            word = "about right" if is_balanced else "too low" if mean > 0 else "too high"
            alignment = f"alignment: mean {mean:+.3f}, root mean square {rms:.3f}"
            yield f"the learning rate of {name} was {word} in this epoch ({alignment})."
        if not self._cosines and self.controller.not_finite > self._not_finite_at_epoch_end:
            yield (
                f"no gradient of {self.name} was finite in this epoch: lower the learning rate, or look for values that"
                " are not finite."
            )
        self._not_finite_at_epoch_end = self.controller.not_finite
        self._cosines.clear()

    def restart(self) -> None:
        """Begin again with a scale of 1, from the learning rates that are set now. They are known to be good."""
        self._drop_measurements()
        # not as if training had learned nothing: then the scale may rise faster, and does not fall
        self._detector, self._has_guard_ended = DivergenceDetector(LossLevel(has_learned=True)), False
        self.controller.restart()

    def detach(self) -> None:
        """Remove all hooks from the optimizer and its schedulers."""
        self._counter.remove()
        self.controller.scales.lrs.detach()

    def state(self, with_vectors: bool) -> dict[str, Any]:
        """For a checkpoint, in plain numbers, lists and tensors."""
        return {
            "adaptation": self.controller.state(with_vectors),
            "watch": self._detector.state(),
            "guard_ended": self._has_guard_ended,
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
        self._detector.load_state(state["watch"])
        self._has_guard_ended = state["guard_ended"]
        self._keep_or_move_anchor()
        self._queue.load_state(state["late"])
        self._losses = [None if loss is None else torch.tensor(loss) for loss in state["losses"]]

    def _keep_or_move_anchor(self) -> None:
        is_guarding = self._guards and not self._has_guard_ended
        self.controller.keeps_anchor = is_guarding and self._detector.losses.is_far_above

    def _add_cosines(self, is_new: list[bool]) -> None:
        """For the verdict at the end of the epoch."""
        for (name, group), has_alignment in zip(self.named_groups(), is_new, strict=False):
            if has_alignment:
                self._cosines[name] = self._cosines.get(name, _Cosines()).add(group.alignment.cosine)

    def _after_step(self, count: int) -> None:
        if count > self.controller.steps:
            raise RuntimeError(
                f"HypergradientLR was not told of a step of {self.name} before it was made: step the optimizers that"
                " self.optimizers() returns, not the torch optimizers themselves."
            )
        self.controller.after_step()

    def _drop_measurements(self) -> None:
        """Drop what was measured before a restart or a return; a loss that is not finite would count twice."""
        self._measured.clear()
        self._queue.clear()
        self._losses.clear()

    def _sign_of_divergence(self, measurement: Measurement) -> float | None:
        """The level of the loss if it is far above, else what is not finite; None if training has not diverged."""
        bad, sums, losses = None, measurement.sums.tolist(), list(measurement.losses)
        losses += [None] * (measurement.steps - len(losses))  # a batch may have several steps
        for loss in losses:
            # a GradScaler skips its step, so it does no harm
            is_skipped = self.controller.has_grad_scaler and loss is not None and not math.isfinite(loss)
            if self._detector.add_loss(None if is_skipped else loss):
                bad = loss  # those behind it are not calm
                break
        else:
            for square in sums[2::4]:
                if not math.isfinite(square):
                    bad = square
                    break
        is_far_off = self._detector.is_far_off(math.sqrt(sum(sums[1::4])))
        if is_far_off or (bad is not None and self._detector.losses.is_far_above):
            bad = self._detector.losses.level
        return bad if self._guards and not self._has_guard_ended else None

    def _return_to_anchor(self, *, lr_is_cause: bool) -> None:
        if self._detector.returns == 0:
            self.warn(
                f"HypergradientLR: training with {self.name} has diverged. It continues from the mean of the last good"
                f" weights, with {constants.LR_AFTER_DIVERGENCE} of the learning rate."
            )
        self._detector = self._detector.after_return()
        self._drop_measurements()
        self.controller.return_to_anchor(lr_is_cause=lr_is_cause)
        self._after_return()

    def _end_guard(self) -> None:
        """Training goes on as without a guard, since the learning rate is not the cause."""
        self._has_guard_ended = True
        self.warn(
            f"HypergradientLR has taken training with {self.name} back to good weights {constants.MAX_RETURNS} times in"
            " a row, and it has diverged again. Training goes on without the guard. Look for values in the data or the"
            " loss that are not finite."
        )


def limit_players(optimizers: Iterable[AdaptedOptimizer]) -> None:
    """Keep the scales of optimizers near 1, since they step on losses of their own: see `SeparateLosses`."""
    limit = float(constants.MAX_SCALE_OF_PLAYERS)
    for optimizer in optimizers:
        groups = optimizer.controller.groups if optimizer.controller.adapts_by_anchor else []
        if new := [group for group in groups if group.max_change > limit]:
            for group in new:
                group.max_change = limit
            optimizer.warn(
                f"HypergradientLR: {optimizer.name} steps on its own loss, as in adversarial training. What it gains"
                f" another may lose, so its learning rate stays within a factor of {limit:g} of the one that is set."
            )
