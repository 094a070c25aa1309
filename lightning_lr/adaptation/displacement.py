"""How far parameters have moved: ``d = θ_then - θ_now``, and the sums over it and the gradient that a rule needs.

θ_then is the anchor, an exponential mean of the iterates (`AnchorDisplacement`), or the iterate before the last step
(`lightning_lr.adaptation.last_step.LastStepDisplacement`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from lightning_lr.adaptation import constants
from lightning_lr.adaptation.flat_params import FlatParams


class AnchorUpdate(NamedTuple):
    """What decides how the anchor of some parameters follows them. Scalars on the device.

    Attributes:
        squared_distance: ``‖d‖²`` of these parameters.
        is_allowed: false if any gradient of the optimizer is not finite, or the iterates are not trusted.
        steps: since the last measurement.
    """

    squared_distance: Tensor
    is_allowed: Tensor
    steps: int


class Displacement(Protocol):
    """Knows the displacement of parameters."""

    def vector(self, params: FlatParams) -> Tensor | None:
        """d before a step; None where it is not known. It may be a view of a tensor: do not write to it."""

    def before_step(self, params: FlatParams, update: AnchorUpdate | None) -> None:
        """To be called for all parameters before a step.

        Args:
            params: as they are before the step.
            update: how an anchor follows them; None if nothing was measured.
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

    Keeps one copy of the parameters, in float32 or wider. Iterates that have blown up are not averaged in: those that
    are not finite, and those more than FAR times as far away as the ones before. Slower growth is averaged in.

    Args:
        horizon: in steps. With 1 it is the displacement of the last step, for any optimizer.
    """

    def __init__(self, horizon: float) -> None:
        self.horizon = horizon
        self._anchors: dict[FlatParams, Tensor] = {}
        self._distances: dict[FlatParams, Tensor] = {}  # of the iterates that were averaged in, on the device

    def vector(self, params: FlatParams) -> Tensor | None:
        return self._anchors[params] - params.values() if params in self._anchors else None

    def before_step(self, params: FlatParams, update: AnchorUpdate | None) -> None:
        if params not in self._anchors or update is None:
            self.set_anchor(params)
            return
        anchor = self._anchors[params]
        if update.steps >= self.horizon:
            torch.where(update.is_allowed, params.values(), anchor, out=anchor)
            return
        distance = update.squared_distance.sqrt()
        known = self._distances.get(params, distance)
        limit = constants.FAR * known
        is_near = torch.isfinite(distance) & ((distance <= limit) | (known == 0))
        # a distance that grows fast outruns the known one; one that stays large is reached in the end
        followed = distance.minimum(constants.MAX_DISTANCE_GROWTH * known)
        grown = torch.where(is_near, torch.where(known == 0, distance, followed), limit)
        self._distances[params] = torch.where(update.is_allowed, grown, known)
        is_followed = update.is_allowed & is_near
        if anchor.is_cpu:  # its numbers can be read at once, and memory is the cost
            if is_followed:
                anchor.lerp_(params.values(), update.steps / self.horizon)
        else:
            anchor.lerp_(torch.where(is_followed, params.values(), anchor), update.steps / self.horizon)

    def after_step(self) -> None:
        pass

    def clear(self) -> None:
        """Have no anchor until the next step sets one."""
        self._anchors.clear()
        self._distances.clear()

    def set_anchor(self, params: FlatParams) -> None:
        """Set the anchor to the parameters as they are."""
        if params in self._anchors:
            self._anchors[params].copy_(params.values())
        else:
            self._anchors[params] = params.values().clone()
        self._distances.pop(params, None)

    def restore(self, params: FlatParams, keep: float = 0.0) -> None:
        """Set the parameters to ``anchor + keep (θ - anchor)``, if there is an anchor."""
        if params in self._anchors:
            anchor = self._anchors[params]
            params.write(torch.lerp(anchor, params.values(), keep) if keep else anchor)
            self._distances.pop(params, None)

    def state(self, positions: dict[Tensor, int]) -> dict[str, Any]:
        whole = {params: anchor for params, anchor in self._anchors.items() if not params.is_sharded}
        parts: dict[int, list[Tensor]] = {}
        for params, anchor in whole.items():
            for parameter, part in zip(params.parameters, params.split(anchor), strict=True):
                parts.setdefault(positions[parameter], []).append(part)
        distances = [
            [positions[params.parameters[0]], params.start, self._distances[params].item()]
            for params in whole
            if params in self._distances
        ]
        return {"means": {i: torch.cat(slices) for i, slices in parts.items()}, "reach": distances}

    def load_state(self, state: dict[str, Any], parameters: Sequence[Tensor], flat: Sequence[FlatParams]) -> None:
        anchors = {parameters[i]: anchor.to(parameters[i].device) for i, anchor in state["means"].items()}
        distances = {(parameters[i], start): distance for i, start, distance in state["reach"]}
        for params in flat:
            if all(parameter in anchors for parameter in params.parameters):
                self._anchors[params] = params.flatten([anchors[parameter] for parameter in params.parameters]).to(
                    params.values().dtype, copy=True
                )
                if (key := (params.parameters[0], params.start)) in distances:
                    self._distances[params] = self._anchors[params].new_tensor(distances[key])


def alignment_sums(
    flat: Sequence[FlatParams],
    displacement: Displacement,
    steps: int,
    device: torch.device,
    *,
    is_trusted: bool = True,
) -> Tensor:
    """This process's part of ``⟨g, d⟩``, ``‖g‖²`` and ``‖d‖²``, shape [3]. Calls ``displacement.before_step``.

    Args:
        flat: the parameters, with their gradients. Those whose d is not known add nothing.
        displacement: which knows d.
        steps: since the last measurement.
        device: to sum on.
        is_trusted: whether an anchor may follow the iterates.
    """
    total = torch.zeros(3, device=device)
    squares: list[Tensor | None] = []
    for params in flat:
        d = displacement.vector(params)
        squares.append(None)
        if d is not None:
            gradient = params.gradients()
            sums = torch.stack([gradient @ d, gradient @ gradient, d @ d])
            squares[-1] = sums[2]
            total = total + (sums * params.share).to(device)
            del gradient  # frees its memory before the next vectors are made
        del d
    # a second pass, since one gradient that is not finite stops the anchors of all parameters
    is_allowed = total[1].isfinite() & is_trusted
    for params, square in zip(flat, squares, strict=True):
        update = None if square is None else AnchorUpdate(square, is_allowed.to(square.device), steps)
        displacement.before_step(params, update)
    return total
