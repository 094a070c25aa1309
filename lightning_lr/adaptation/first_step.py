"""The first step of an optimizer, made so short that no learning rate to begin with does harm."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lightning_lr.adaptation.displacement import FromMean
from lightning_lr.adaptation.flat_params import Piece

_LONGEST = 1e-3  # of the length of all parameters, or of what it would be with elements of 1e-3


@torch.no_grad()
def shorten_first_step(
    pieces: Sequence[Piece], start: FromMean, reduce: Callable[[Tensor], Tensor], device: torch.device
) -> float | None:
    """Take back what a first step has gone too far: ``‖α u‖ ≤ 1e-3 max(‖θ‖, 1e-3 √D)``, D the number of elements.

    Args:
        pieces: of the parameters, which the step has changed.
        start: whose mean is where the step began.
        reduce: sums a tensor over processes.
        device: to sum on.

    Returns:
        The share of the step that is kept; 0 of one whose end is not finite; None if nothing has moved.
    """
    total = torch.zeros(3, device=device)
    for piece in pieces:
        movement = start.of(piece)
        if movement is not None:
            before = piece.values() + movement
            sums = torch.stack([movement @ movement, before @ before, before.new_tensor(float(len(before)))])
            total = total + (sums * piece.share).to(device)
    moved, length, count = reduce(total).tolist()
    if moved == 0:
        return None
    share = 0.0
    if math.isfinite(moved):
        share = min(1.0, _LONGEST * math.sqrt(max(length, 1e-6 * count) / moved))
    if share < 1:
        for piece in pieces:
            start.go_back(piece, share)
    return share
