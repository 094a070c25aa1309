"""Takes training that has diverged back to the anchor, the mean of the last good weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from lightning_lr.adaptation import constants
from lightning_lr.adaptation.controller import LRController
from lightning_lr.adaptation.divergence import DivergenceDetector
from lightning_lr.adaptation.loss_level import LossLevel
from lightning_lr.adaptation.measurement import Measurement
from lightning_lr.adaptation.rules import LossState


class Guard:
    """Watches one optimizer for a divergence.

    It follows the losses also where it does not act, since the rule is told of them. After MAX_RETURNS returns in a row
    it acts no more.

    Args:
        name: of the optimizer.
        controller: of its learning rates.
        warn: shows a warning.
        after_return: called when the parameters were set back to the anchor, to reset what the optimizer does not hold.
        acts: whether to return to the anchor, if there is one.
    """

    def __init__(
        self,
        name: str,
        controller: LRController,
        *,
        warn: Callable[[str], None],
        after_return: Callable[[], None],
        acts: bool,
    ) -> None:
        self._name, self._controller = name, controller
        self._warn, self._after_return = warn, after_return
        self._acts = acts and controller.adapts_by_anchor
        self._has_ended = False
        self._detector = DivergenceDetector()

    def takes_back(self, measurement: Measurement) -> bool:
        """Take a measurement that was read. Gives whether training was taken back to the anchor because of it."""
        sign = self._sign_of_divergence(measurement)
        if sign is not None and self._detector.returns == constants.MAX_RETURNS:
            self._end()
        elif sign is not None:  # one that is not finite may come of one bad batch, at any learning rate
            self._return_to_anchor(lr_is_cause=math.isfinite(sign))
            return True
        self._keep_or_move_anchor()
        return False

    def state_of_loss(self) -> LossState:
        """What a rule is told of the loss."""
        return self._detector.losses.state_of_loss()

    def restart(self) -> None:
        """Begin again, from learning rates that are known to be good."""
        # not as if training had learned nothing: then the scale may rise faster, and does not fall
        self._detector, self._has_ended = DivergenceDetector(LossLevel(has_learned=True)), False

    def state(self) -> dict[str, Any]:
        """For a checkpoint, in plain numbers."""
        return {"watch": self._detector.state(), "guard_ended": self._has_ended}

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from what `state` gave."""
        self._detector.losses.count = self._controller.steps  # about as many; earlier versions have not saved it
        self._detector.load_state(state["watch"])
        self._has_ended = state["guard_ended"]
        self._keep_or_move_anchor()

    def _keep_or_move_anchor(self) -> None:
        is_guarding = self._acts and not self._has_ended
        is_doubtful = self._detector.losses.is_far_above or self._detector.is_suspect
        self._controller.keeps_anchor = is_guarding and is_doubtful

    def _sign_of_divergence(self, measurement: Measurement) -> float | None:
        """The level of the loss if it is far above, else what is not finite; None if training has not diverged."""
        bad, sums, losses = None, measurement.sums.tolist(), list(measurement.losses)
        losses += [None] * (measurement.steps - len(losses))  # a batch may have several steps
        for loss in losses:
            # a GradScaler skips its step, so it does no harm
            is_skipped = self._controller.has_grad_scaler and loss is not None and not math.isfinite(loss)
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
        return bad if self._acts and not self._has_ended else None

    def _return_to_anchor(self, *, lr_is_cause: bool) -> None:
        if self._detector.returns == 0:
            self._warn(
                f"HypergradientLR: training with {self._name} has diverged. It continues from the mean of the last good"
                f" weights, with {constants.LR_AFTER_DIVERGENCE} of the learning rate."
            )
        self._detector = self._detector.after_return()
        self._controller.return_to_anchor(lr_is_cause=lr_is_cause)
        self._after_return()

    def _end(self) -> None:
        """Training goes on as without a guard, since the learning rate is not the cause."""
        self._has_ended = True
        self._warn(
            f"HypergradientLR has taken training with {self._name} back to good weights {constants.MAX_RETURNS} times"
            " in a row, and it has diverged again. Training goes on without the guard. Look for values in the data or"
            " the loss that are not finite."
        )
