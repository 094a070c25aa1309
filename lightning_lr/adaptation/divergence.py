"""Whether training has diverged."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

from lightning_lr.adaptation import checkpoint_keys, constants
from lightning_lr.adaptation.loss_level import LossLevel


@dataclass
class DivergenceDetector:
    """Follows the losses and the gradients of training.

    Training has diverged when a loss is not finite, or when the loss is far above its first values
    (`LossLevel.is_far_above`) and one of the last 1 / SQUARE_WEIGHT gradients was far off: ``‖g‖ > FAR · G``, with G
    the root mean square of the norms before it was. They need not come together: the gradients of a network that is
    lost may be small again when the level of the loss is far above. One of them alone is no divergence: a term of the
    loss may grow, or the data may change.

    The values in capitals are those of `lightning_lr.adaptation.constants`.

    Attributes:
        losses: level of the loss.
        mean_square_norm: G².
        steps_since_return: steps since the last return to the anchor.
        returns: returns to the anchor with less than CALM_STEPS between them.
        num_suspect: measurements for which the last gradient that was far off still counts.
    """

    losses: LossLevel = field(default_factory=LossLevel)
    mean_square_norm: float = 0.0
    steps_since_return: int = 0
    returns: int = 0
    num_suspect: int = 0

    def add_loss(self, loss: float | None) -> bool:
        """Take the loss of the next step, None if it is not known. Gives whether it is a divergence by itself.

        >>> detector = DivergenceDetector()
        >>> [detector.add_loss(loss) for loss in (4.0, 2.0, None, math.nan)]
        [False, False, False, True]
        """
        self.steps_since_return += 1
        if self.steps_since_return >= constants.CALM_STEPS:
            self.returns = 0
        if loss is None:
            return False
        if not math.isfinite(loss):
            return True
        self.losses.add(loss)
        return False

    def is_far_off(self, gradient_norm: float) -> bool:
        """Take the norm of a gradient, after the losses before it. Gives whether training has diverged by both."""
        if not math.isfinite(gradient_norm):
            return False  # it is skipped by a GradScaler, or the parameters will show it
        usual = math.sqrt(self.mean_square_norm)
        is_far = usual > 0 and gradient_norm > constants.FAR * usual
        self.num_suspect = round(1 / constants.SQUARE_WEIGHT) if is_far else max(0, self.num_suspect - 1)
        if self.is_suspect and self.losses.is_far_above:
            return True
        norm = min(gradient_norm, constants.FAR * usual) if usual else gradient_norm
        self.mean_square_norm += (constants.SQUARE_WEIGHT if usual else 1.0) * (norm**2 - self.mean_square_norm)
        return False

    @property
    def is_suspect(self) -> bool:
        """Whether a gradient was far off lately."""
        return self.num_suspect > 0

    def after_return(self) -> DivergenceDetector:
        """A detector for training that was taken back to the anchor."""
        losses = replace(self.losses, first_losses=list(self.losses.first_losses))
        losses.return_to_lowest()
        return DivergenceDetector(losses, self.mean_square_norm, returns=self.returns + 1)

    def state(self) -> dict[str, Any]:
        """For a checkpoint, in plain numbers."""
        return {**self.losses.state(), **checkpoint_keys.save(self, checkpoint_keys.DIVERGENCE_DETECTOR)}

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from what `state` gave."""
        self.losses.load_state(state)
        checkpoint_keys.load(self, state, checkpoint_keys.DIVERGENCE_DETECTOR)
