"""How far parameters have moved from a mean of the iterates so far, or from where they were before the last step.

The movement of a piece is ``d = θ_then - θ_now``, a vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from lightning_lr.adaptation.flat_params import Piece

# An iterate that is so many times as far away from the mean as the one before has left for good.
_FARTHEST = 100


class Measured(NamedTuple):
    """What is known of a piece before a step, on the device.

    Attributes:
        square: ``‖d‖²`` of its movement, a scalar.
        is_good: whether all gradients are finite and the iterates are trusted, a scalar; else the step is left out.
        steps: since it was measured the last time.
    """

    square: Tensor
    is_good: Tensor
    steps: int


class Movement(Protocol):
    """Knows the movement of pieces."""

    def of(self, piece: Piece) -> Tensor | None:
        """The movement, to be asked before a step; None where it is not known. Do not write to it."""

    def before_step(self, piece: Piece, measured: Measured | None) -> None:
        """Take note of a piece before a step, with what was measured of it; None if nothing was."""

    def after_step(self) -> None:
        """Take note of a finished step of the optimizer, if the next one is to be asked about it."""

    def state(self, positions: dict[Tensor, int]) -> dict[str, Any]:
        """What is to be kept in a checkpoint, with positions for parameters. Nothing of what is sharded, since only one
        process writes it."""

    def load_state(self, state: dict[str, Any], parameters: Sequence[Tensor], parts: Sequence[Piece]) -> None:
        """Go on from what `state` gave."""


class FromMean:
    """The movement from an exponential mean of the iterates: ``θ̄ ← θ̄ + (θ - θ̄)/horizon``, θ̄ = θ at the start.

    Keeps one copy of the parameters, in float32 or wider. The mean is one of good iterates: one that is not finite, or
    a hundred times as far away as those before, is left out of it. What blows up more slowly than that moves it.

    Args:
        horizon: in steps. With 1 it is the movement of the last step, whatever the optimizer.
    """

    def __init__(self, horizon: float) -> None:
        self.horizon = horizon
        self._means: dict[Piece, Tensor] = {}
        self._reach: dict[Piece, Tensor] = {}  # how far away the iterates of the mean were, on the device

    def of(self, piece: Piece) -> Tensor | None:
        return self._means[piece] - piece.values() if piece in self._means else None

    def before_step(self, piece: Piece, measured: Measured | None) -> None:
        if piece not in self._means or measured is None:
            self.begin_anew(piece)
            return
        mean = self._means[piece]
        if measured.steps >= self.horizon:
            torch.where(measured.is_good, piece.values(), mean, out=mean)
            return
        distance = measured.square.sqrt()
        reach = self._reach.get(piece, distance)
        is_near = torch.isfinite(distance) & ((distance <= _FARTHEST * reach) | (reach == 0))
        # at most twice as far, so that a way that blows up outruns it; but what stays away is followed in the end
        grown = torch.where(is_near, torch.where(reach == 0, distance, distance.minimum(2 * reach)), _FARTHEST * reach)
        self._reach[piece] = torch.where(measured.is_good, grown, reach)
        mean.lerp_(torch.where(measured.is_good & is_near, piece.values(), mean), measured.steps / self.horizon)

    def after_step(self) -> None:
        pass

    def forget(self) -> None:
        """Have no mean, until the next step begins one."""
        self._means.clear()
        self._reach.clear()

    def begin_anew(self, piece: Piece) -> None:
        """Begin a new mean with the iterate of today."""
        if piece in self._means:
            self._means[piece].copy_(piece.values())
        else:
            self._means[piece] = piece.values().clone()
        self._reach.pop(piece, None)

    def go_back(self, piece: Piece, keep: float = 0.0) -> None:
        """Move the parameters back to the mean, if there is one, but for a share of the way that is kept."""
        if piece in self._means:
            mean = self._means[piece]
            piece.write(torch.lerp(mean, piece.values(), keep) if keep else mean)
            self._reach.pop(piece, None)

    def state(self, positions: dict[Tensor, int]) -> dict[str, Any]:
        whole = {piece: mean for piece, mean in self._means.items() if not piece.is_sharded}
        parts: dict[int, list[Tensor]] = {}
        for piece, mean in whole.items():
            for parameter, part in zip(piece.parameters, piece.split(mean), strict=True):
                parts.setdefault(positions[parameter], []).append(part)
        reach = [
            [positions[piece.parameters[0]], piece.start, self._reach[piece].item()]
            for piece in whole
            if piece in self._reach
        ]
        return {"means": {i: torch.cat(slices) for i, slices in parts.items()}, "reach": reach}

    def load_state(self, state: dict[str, Any], parameters: Sequence[Tensor], parts: Sequence[Piece]) -> None:
        means = {parameters[i]: mean.to(parameters[i].device) for i, mean in state["means"].items()}
        reach = {(parameters[i], start): reach for i, start, reach in state["reach"]}
        for piece in parts:
            if all(parameter in means for parameter in piece.parameters):
                self._means[piece] = piece.flat([means[parameter] for parameter in piece.parameters]).to(
                    piece.values().dtype, copy=True
                )
                if (key := (piece.parameters[0], piece.start)) in reach:
                    self._reach[piece] = self._means[piece].new_tensor(reach[key])
