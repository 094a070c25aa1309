"""The parameters of a group as a few long vectors, so that a sum over all of them is a few kernels, not thousands.

A piece holds small parameters side by side, or a slice of a large one. What is computed on it takes memory for one
piece, not for the model.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lightning_lr.optimizers.param_groups import ParamGroup


@dataclass(frozen=True, eq=False)
class Piece:
    """Parameters of one group as one vector.

    Attributes:
        group: that they belong to.
        parameters: side by side; of a single one only the elements from ``start`` to ``stop``.
        share: weight in a sum over processes: one by the number of processes that hold the same elements.
    """

    group: ParamGroup
    parameters: tuple[Tensor, ...]
    share: float
    start: int = 0
    stop: int | None = None

    @torch.no_grad()
    def flat(self, tensors: Sequence[Tensor | None]) -> Tensor:
        """One tensor for each parameter, together as a vector, in float32 or wider; zeros where there is none.

        It may be a view of a tensor: do not write to it.
        """
        vectors = [
            torch.zeros_like(_vector(parameter, self.start, self.stop))
            if tensor is None
            else _vector(tensor, self.start, self.stop)
            for parameter, tensor in zip(self.parameters, tensors, strict=True)
        ]
        flat = vectors[0] if len(vectors) == 1 else torch.cat(vectors)
        return flat.float() if flat.dtype in (torch.float16, torch.bfloat16) else flat

    @property
    def is_sharded(self) -> bool:
        """Whether this process holds but a part of these parameters."""
        return any(_shards(parameter) > 1 for parameter in self.parameters)

    def values(self) -> Tensor:
        """The parameters; see `flat`."""
        return self.flat(self.parameters)

    def gradients(self) -> Tensor:
        """The gradients of what is minimised; see `flat`."""
        flat = self.flat([parameter.grad for parameter in self.parameters])
        return -flat if self.group.get("maximize", False) else flat

    def spread(self, numbers: Sequence[float | Tensor | None]) -> float | Tensor:
        """One number for each parameter as a factor of its elements; any number where there is none."""
        given = [number for number in numbers if number is not None]
        if not any(isinstance(number, Tensor) for number in given) and len(set(given)) <= 1:
            return given[0] if given else 1.0
        if len(given) == len(numbers) == 1:
            return given[0]
        ones = [torch.ones_like(part) for part in self.split(self.values())]
        return torch.cat([one * (1 if n is None else n) for one, n in zip(ones, numbers, strict=True)])

    def split(self, vector: Tensor) -> Sequence[Tensor]:
        """A vector's part of each parameter."""
        if self.stop is not None:
            return [vector]
        return torch.split(vector, [_real(_local(parameter)).numel() for parameter in self.parameters])

    @torch.no_grad()
    def write(self, vector: Tensor) -> None:
        """Set the parameters, in place."""
        for parameter, part in zip(self.parameters, self.split(vector), strict=True):
            local = _real(_local(parameter))
            if self.stop is not None:
                local.view(-1)[self.start : self.stop].copy_(part)
            else:
                local.copy_(part.view(local.shape))


def _most_elements(device: torch.device) -> int:
    """Large enough that the launch of a kernel does not count; small enough for the cache of a CPU, or for a part of
    the memory of an accelerator (128 MiB)."""
    return 2**20 if device.type == "cpu" else 2**25


def pieces(group: ParamGroup, world_size: int = 1, without: Container[Tensor] = ()) -> Iterator[Piece]:
    """A group's trainable parameters in pieces.

    Args:
        group: of an optimizer.
        world_size: number of processes that train together.
        without: parameters to leave out.
    """
    gathered: dict[Any, list[Tensor]] = {}
    elements: dict[Any, int] = {}  # of what is gathered
    for parameter in group["params"]:
        if not parameter.requires_grad or parameter.numel() == 0 or parameter in without:
            continue
        share, local = _shards(parameter) / world_size, _real(_local(parameter))
        most = _most_elements(local.device)
        if local.numel() > most and local.is_contiguous():
            for start in range(0, local.numel(), most):
                yield Piece(group, (parameter,), share, start, min(start + most, local.numel()))
            continue
        kind = parameter.device, parameter.dtype, share
        alike = gathered.setdefault(kind, [])
        if alike and elements[kind] + local.numel() > most:
            yield Piece(group, tuple(alike), share)
            alike.clear()
        elements[kind] = local.numel() + (elements[kind] if alike else 0)
        alike.append(parameter)
    for (_, _, share), alike in gathered.items():
        yield Piece(group, tuple(alike), share)


def _vector(tensor: Tensor, start: int, stop: int | None) -> Tensor:
    local = _local(tensor)
    if local.is_sparse and stop is not None and local.sparse_dim() == 1 and not local.is_complex():
        return _part_of_sparse(local, start, stop)
    whole = _real(local.to_dense() if local.is_sparse else local).reshape(-1)
    return whole if stop is None else whole[start:stop]


def _part_of_sparse(gradient: Tensor, start: int, stop: int) -> Tensor:
    """Some elements of a tensor of sparse rows, which as a whole may be too large to be written out."""
    gradient = gradient.coalesce()
    width = gradient[0].numel()
    first, end = start // width, -(-stop // width)
    rows = gradient.indices()[0]
    # rows that are elsewhere go to one behind the end: no wait for the device to count them
    places = torch.where((rows >= first) & (rows < end), rows - first, end - first)
    dense = gradient.values().new_zeros(end - first + 1, width)
    dense[places] = gradient.values().reshape(-1, width)
    return dense.reshape(-1)[start - first * width : stop - first * width]


def _real(tensor: Tensor) -> Tensor:
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


def _local(tensor: Any) -> Tensor:
    """What this process holds of a tensor: of a DTensor, as sharded models have, its shard."""
    local: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return local


def _shards(tensor: Any) -> int:
    """Into how many parts a tensor is divided among processes."""
    shards = 1
    if hasattr(tensor, "to_local"):
        for dimension, placement in enumerate(tensor.placements):
            shards *= tensor.device_mesh.size(dimension) if placement.is_shard() else 1
    return shards
