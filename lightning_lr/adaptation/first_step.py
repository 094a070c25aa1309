"""The first step of an optimizer, shortened so that any first learning rate is safe."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from lightning_lr.adaptation import constants
from lightning_lr.adaptation.displacement import AnchorDisplacement
from lightning_lr.adaptation.flat_params import FlatParams
from lightning_lr.adaptation.measurement import sum_over_processes


@torch.no_grad()
def shorten_first_step(flat: Sequence[FlatParams], start: AnchorDisplacement, device: torch.device) -> float | None:
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
