"""How far parameters have moved from a mean of the iterates so far, or from where they were before the last step.

The movement of a piece is ``d = θ_then - θ_now``, a vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from lightning_lr.flat_pieces import Piece

# An iterate that is so many times as far away from the mean as the one before has left for good.
_FARTHEST = 100


class Movement(Protocol):
    """Knows the movement of pieces."""

    def of(self, piece: Piece) -> Tensor | None:
        """The movement, to be asked before a step; None where it is not known. Do not write to it."""

    def before_step(self, piece: Piece, movement: Tensor | None, steps: int) -> None:
        """Take note of a piece, told what `of` gave, None if it was not asked, and the steps since the last time."""

    def after_step(self) -> None:
        """Take note of a finished step of the optimizer, if the next one is to be asked about it."""

    def state(self, positions: dict[Tensor, int]) -> dict[str, Any]:
        """What is to be kept in a checkpoint, with positions for parameters."""

    def load_state(self, state: dict[str, Any], parameters: Sequence[Tensor]) -> None:
        """Go on from what `state` gave."""


class FromMean:
    """The movement from an exponential mean of the iterates: ``θ̄ ← θ̄ + (θ - θ̄)/horizon``, θ̄ = θ at the start.

    Keeps one copy of the parameters, in float32 or wider. The mean is one of good iterates: one that is not finite, or
    a hundred times as far away as the one before, is left out of it.

    Args:
        horizon: in steps. With 1 it is the movement of the last step, whatever the optimizer.
    """

    def __init__(self, horizon: float) -> None:
        self.horizon = horizon
        self._means: dict[Piece, Tensor] = {}
        self._reach: dict[Piece, Tensor] = {}  # how far away the latest iterate of the mean was, on the device
        self._saved: dict[Tensor, Tensor] = {}
        self._saved_reach: dict[tuple[Tensor, int], float] = {}

    def of(self, piece: Piece) -> Tensor | None:
        if piece not in self._means and all(parameter in self._saved for parameter in piece.parameters):
            self._means[piece] = piece.flat([self._saved[parameter] for parameter in piece.parameters]).clone()
            if (key := _key(piece)) in self._saved_reach:
                self._reach[piece] = self._means[piece].new_tensor(self._saved_reach[key])
        return self._means[piece] - piece.values() if piece in self._means else None

    def before_step(self, piece: Piece, movement: Tensor | None, steps: int) -> None:
        if piece not in self._means:
            self._means[piece] = piece.values().clone()
        elif movement is None or steps >= self.horizon:
            self._means[piece].copy_(piece.values())
        else:
            distance = torch.linalg.vector_norm(movement)
            reach = self._reach.get(piece, distance)
            is_good = torch.isfinite(distance) & ((distance <= _FARTHEST * reach) | (reach == 0))
            self._reach[piece] = torch.where(is_good, distance, _FARTHEST * reach)
            self._means[piece].sub_(torch.where(is_good, movement, 0), alpha=steps / self.horizon)

    def after_step(self) -> None:
        pass

    def forget(self) -> None:
        """Have no mean, until the next step begins one."""
        self._means.clear()
        self._reach.clear()
        self._saved.clear()

    def begin_anew(self, piece: Piece) -> None:
        """Begin a new mean with the iterate of today."""
        self._means[piece].copy_(piece.values())
        self._reach.pop(piece, None)

    def go_back(self, piece: Piece, keep: float = 0.0) -> None:
        """Move the parameters back to the mean, but for a share of the way that is kept."""
        mean = self._means[piece]
        piece.write(torch.lerp(mean, piece.values(), keep) if keep else mean)
        self._reach.pop(piece, None)

    def state(self, positions: dict[Tensor, int]) -> dict[str, Any]:
        parts: dict[int, list[Tensor]] = {}
        for piece, mean in self._means.items():
            for parameter, part in zip(piece.parameters, piece.split(mean), strict=True):
                parts.setdefault(positions[parameter], []).append(part)
        reach = [[positions[piece.parameters[0]], piece.start, reach.item()] for piece, reach in self._reach.items()]
        return {"means": {i: torch.cat(slices) for i, slices in parts.items()}, "reach": reach}

    def load_state(self, state: dict[str, Any], parameters: Sequence[Tensor]) -> None:
        self._saved = {parameters[i]: mean.to(parameters[i].device) for i, mean in state["means"].items()}
        self._saved_reach = {(parameters[i], start): reach for i, start, reach in state["reach"]}


def _key(piece: Piece) -> tuple[Tensor, int]:
    return piece.parameters[0], piece.start
