"""The first step of an optimizer, shortened so that any first learning rate is safe."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch.optim import Optimizer

from lightning_lr.adaptation import constants
from lightning_lr.adaptation.displacement import AnchorDisplacement
from lightning_lr.adaptation.flat_params import FlatParams
from lightning_lr.adaptation.measurement import sum_over_processes
from lightning_lr.adaptation.reset import OptimizerReset
from lightning_lr.adaptation.scaled_group import ScaledGroup


class FirstStep:
    """Shortens the first step of each scaled group, and ends training if too many have failed.

    Args:
        optimizer: that makes the steps.
        anchor: where the step began.
        reset: sets the optimizer back to its first state.
        device: to sum on.
    """

    def __init__(
        self, optimizer: Optimizer, anchor: AnchorDisplacement, reset: OptimizerReset, device: torch.device
    ) -> None:
        self._name = type(optimizer).__name__
        self._anchor, self._reset, self._device = anchor, reset, device
        self._failed = 0

    def shorten(self, group: ScaledGroup) -> bool:
        """Shorten the step that a group has just made, and its scale. Gives whether it was the first.

        It was not if nothing has moved, or if it ended in parameters that are not finite: then the next one is.

        Raises:
            RuntimeError: if MAX_FAILED_FIRST_STEPS steps have ended so.
        """
        share = _shorten(group.params, self._anchor, self._device)
        if share is None:
            return False
        if share > 0:
            group.has_started = True
            group.scale *= share
            return True
        self._reset()
        group.has_moved = False
        self._failed += 1
        if self._failed == constants.MAX_FAILED_FIRST_STEPS:
            raise RuntimeError(
                f"HypergradientLR: the first {self._failed} steps of {self._name} have all led to parameters that are"
                " not finite: look for gradients that are not finite."
            )
        return False


@torch.no_grad()
def _shorten(flat: Sequence[FlatParams], start: AnchorDisplacement, device: torch.device) -> float | None:
    """Take back the part of a first step that is too long.

    With D the number of elements::

        ‖step‖ ≤ FIRST_STEP_LENGTH · max(‖θ‖, FIRST_STEP_LENGTH √D)

    Args:
        flat: the parameters after the step.
        start: its anchor is where the step began.
        device: to sum on.

    Returns:
        The share of the step that is kept; 0 if it ended in parameters that are not finite; None if nothing has moved.
    """
    total = torch.zeros(3, device=device)
    for params in flat:
        d = start.vector(params)
        if d is not None:
            before = params.values() + d
            sums = torch.stack([d @ d, before @ before, before.new_tensor(float(len(before)))])
            total = total + (sums * params.share).to(device)
    moved, length, count = sum_over_processes(total).tolist()
    if moved == 0:
        return None
    share = 0.0
    if math.isfinite(moved):
        least = constants.FIRST_STEP_LENGTH**2 * count
        share = min(1.0, constants.FIRST_STEP_LENGTH * math.sqrt(max(length, least) / moved))
    if share < 1:
        for params in flat:
            start.restore(params, share)
    return share
