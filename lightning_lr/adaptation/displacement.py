"""How far parameters have moved: ``d = θ_then - θ_now``, and the sums over it and the gradient that a rule needs.

θ_then is the anchor, an exponential mean of the iterates (`AnchorDisplacement`), or the iterate before the last step
(`lightning_lr.adaptation.last_step.LastStepDisplacement`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from lightning_lr.adaptation import constants
from lightning_lr.adaptation.flat_params import FlatParams


class Displacement(Protocol):
    """Knows the displacement of parameters."""

    def vector(self, params: FlatParams) -> Tensor | None:
        """d before a step, for `follow` to write to; None where it is not known."""

    def begin(self, params: FlatParams) -> None:
        """To be called before a step where d is not known: it will be that of this step and those behind it."""

    def follow(self, params: FlatParams, d: Tensor, square: Tensor, is_allowed: Tensor, steps: int) -> None:
        """To be called before a step where d is known.

        Args:
            params: as they are before the step.
            d: what `vector` gave. It is overwritten.
            square: ``‖d‖²`` of these parameters, a scalar.
            is_allowed: false if an anchor has to stay, a scalar.
            steps: since the last measurement.
        """

    def after_step(self) -> None:
        """To be called after a step of the optimizer, if d is needed before the next one."""

    def state(self, positions: dict[Tensor, int]) -> dict[str, Any]:
        """For a checkpoint, with positions for parameters. Sharded parameters are left out: one process writes it."""

    def load_state(self, state: dict[str, Any], parameters: Sequence[Tensor], flat: Sequence[FlatParams]) -> None:
        """Continue from what `state` gave."""


class AnchorDisplacement:
    """The displacement from an anchor, an exponential mean of the iterates::

        anchor ← anchor + (θ - anchor) · min(1, steps / horizon)        anchor = θ at the start

    Keeps one copy of the parameters, in float32 or wider. Iterates more than FAR times as far away as the ones before
    have blown up, and are not averaged in. A distance counts as at most MAX_DISTANCE_GROWTH times the one before it.

    Args:
        horizon: in steps. With 1 it is the displacement of the last step, for any optimizer.
    """

    def __init__(self, horizon: float) -> None:
        self.horizon = horizon
        self._anchors: dict[FlatParams, Tensor] = {}
        self._squares: dict[FlatParams, Tensor] = {}  # of the distance of the iterates before, on the device

    def vector(self, params: FlatParams) -> Tensor | None:
        return self._anchors[params] - params.values() if params in self._anchors else None

    def begin(self, params: FlatParams) -> None:
        self.set_anchor(params)

    def follow(self, params: FlatParams, d: Tensor, square: Tensor, is_allowed: Tensor, steps: int) -> None:
        anchor = self._anchors[params]
        if steps >= self.horizon:
            torch.where(is_allowed, params.values(), anchor, out=anchor)
            return
        known = self._squares.get(params, square)
        known = torch.where(known > 0, known, square)
        is_followed = is_allowed & (square <= constants.FAR**2 * known)
        # a distance that grows fast outruns the known one; one that stays large is reached in the end
        grown = square.minimum(constants.MAX_DISTANCE_GROWTH**2 * known)
        self._squares[params] = torch.where(is_allowed, grown, known)
        if not anchor.is_cpu:
            d.masked_fill_(~is_followed, 0)
        elif not is_followed:  # its numbers can be read at once, and memory is the cost
            return
        anchor.sub_(d, alpha=steps / self.horizon)

    def after_step(self) -> None:
        pass

    def clear(self) -> None:
        """Have no anchor until the next step sets one."""
        self._anchors.clear()
        self._squares.clear()

    def set_anchor(self, params: FlatParams) -> None:
        """Set the anchor to the parameters as they are."""
        if params in self._anchors:
            self._anchors[params].copy_(params.values())
        else:
            self._anchors[params] = params.values().clone()
        self._squares.pop(params, None)

    def restore(self, params: FlatParams, keep: float = 0.0) -> None:
        """Set the parameters to ``anchor + keep (θ - anchor)``, if there is an anchor."""
        if params in self._anchors:
            anchor = self._anchors[params]
            params.write(torch.lerp(anchor, params.values(), keep) if keep else anchor)
            self._squares.pop(params, None)

    def state(self, positions: dict[Tensor, int]) -> dict[str, Any]:
        whole = {params: anchor for params, anchor in self._anchors.items() if not params.is_sharded}
        parts: dict[int, list[Tensor]] = {}
        for params, anchor in whole.items():
            for parameter, part in zip(params.parameters, params.split(anchor), strict=True):
                parts.setdefault(positions[parameter], []).append(part)
        squares = [
            [positions[params.parameters[0]], params.start, self._squares[params].item()]
            for params in whole
            if params in self._squares
        ]
        return {"means": {i: torch.cat(slices) for i, slices in parts.items()}, "squares": squares}

    def load_state(self, state: dict[str, Any], parameters: Sequence[Tensor], flat: Sequence[FlatParams]) -> None:
        anchors = {parameters[i]: anchor.to(parameters[i].device) for i, anchor in state["means"].items()}
        older = state.get("reach", ())  # distances, in checkpoints of earlier versions
        squares = {(parameters[i], start): distance**2 for i, start, distance in older}
        squares |= {(parameters[i], start): square for i, start, square in state["squares"]}
        for params in flat:
            if all(parameter in anchors for parameter in params.parameters):
                self._anchors[params] = params.flatten([anchors[parameter] for parameter in params.parameters]).to(
                    params.values().dtype, copy=True
                )
                if (key := (params.parameters[0], params.start)) in squares:
                    self._squares[params] = self._anchors[params].new_tensor(squares[key])


def alignment_sums(
    flat: Sequence[FlatParams],
    displacement: Displacement,
    steps: int,
    device: torch.device,
    *,
    is_trusted: bool | Tensor = True,
) -> Tensor:
    """This process's part of ``⟨g, d⟩``, ``‖g‖²`` and ``‖d‖²``, shape [3]. An anchor then follows the parameters.

    It stays where parameters or gradients are not finite.

    Args:
        flat: the parameters, with their gradients. Those whose d is not known add nothing.
        displacement: which knows d.
        steps: since the last measurement.
        device: to sum on.
        is_trusted: whether an anchor may follow the iterates.
    """
    total: Tensor | None = None
    for params in flat:
        d = displacement.vector(params)
        if d is None:
            displacement.begin(params)
            continue
        gradient = params.gradients()
        sums = torch.stack([gradient @ d, gradient @ gradient, d @ d])
        del gradient  # frees its memory
        weighted = (sums * params.share).to(device)
        total = weighted if total is None else total + weighted
        if is_trusted is not False:
            is_finite = sums.isfinite().all()
            is_allowed = is_finite if is_trusted is True else is_finite & is_trusted.to(sums.device)
            displacement.follow(params, d, sums[2], is_allowed, steps)
        del d  # before the next vectors are made
    return torch.zeros(3, device=device) if total is None else total


def all_finite(flat: Sequence[FlatParams], device: torch.device) -> Tensor:
    """Whether all gradients are finite. To be asked where a step is skipped if one is not."""
    if not flat:  # nothing is trainable yet, or this process holds nothing
        return torch.ones((), dtype=torch.bool, device=device)
    squares = [gradient @ gradient for gradient in (params.gradients() for params in flat)]
    return torch.stack([square.to(device) for square in squares]).isfinite().all()
