"""What is measured before a step of an optimizer: how the gradient lies to the movement of the steps before."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_lr.adaptation.displacement import Measured, Movement
from lightning_lr.adaptation.flat_params import Piece


def alignment_sums(
    pieces: Sequence[Piece], movement: Movement, steps: int, device: torch.device, *, is_trusted: bool = True
) -> Tensor:
    """This process's part of ``⟨g, d⟩``, ``‖g‖²`` and ``‖d‖²``, shape [3]; the movement takes note of the pieces.

    Args:
        pieces: of the parameters, with their gradients.
        movement: which knows d; where it does not, a piece adds nothing.
        steps: since it was asked the last time.
        device: to sum on.
        is_trusted: whether the movement may follow the iterates.
    """
    total = torch.zeros(3, device=device)
    squares: list[Tensor | None] = []
    for piece in pieces:
        moved = movement.of(piece)
        squares.append(None)
        if moved is not None:
            gradient = piece.gradients()
            sums = torch.stack([gradient @ moved, gradient @ gradient, moved @ moved])
            squares[-1] = sums[2]
            total = total + (sums * piece.share).to(device)
            del gradient  # so that memory for one piece is enough
        del moved
    # in a second pass, since one gradient that is not finite is enough for the whole step to be left out
    is_good = total[1].isfinite() & is_trusted
    for piece, square in zip(pieces, squares, strict=True):
        measured = None if square is None else Measured(square, is_good.to(square.device), steps)
        movement.before_step(piece, measured)
    return total
