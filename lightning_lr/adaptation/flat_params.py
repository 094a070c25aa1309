"""Parameters of a group as a few long vectors, so that a sum over them is a few operations, not thousands.

Small parameters are put together in one vector, a large one is cut into slices. So what is computed takes memory for
one vector, not for the model.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lightning_lr.adaptation import constants
from lightning_lr.optimizers.param_groups import ParamGroup

_PLAIN = Tensor, nn.Parameter


@dataclass(frozen=True, eq=False)
class FlatParams:
    """Some parameters of one group as one vector.

    Attributes:
        group: the group that they belong to.
        parameters: those in the vector, in this order; or a single one, of which only a slice is.
        share: weight in a sum over processes: 1 / number of processes that hold the same elements.
        start: first element of the slice.
        stop: end of the slice; None for whole parameters.
    """

    group: ParamGroup
    parameters: tuple[Tensor, ...]
    share: float
    start: int = 0
    stop: int | None = None

    @torch.no_grad()
    def flatten(self, tensors: Sequence[Tensor | None]) -> Tensor:
        """One tensor for each parameter as a vector, in float32 or wider; zeros for None.

        It may be a view of a tensor: do not write to it.
        """
        # the usual case without a call for each parameter, of which a model has hundreds
        plain = [t.reshape(-1) for t in tensors if t is not None and type(t) in _PLAIN and t.layout is torch.strided]
        if self.stop is None and len(plain) == len(tensors) and not plain[0].is_complex():
            vectors = plain
        else:
            vectors = [self._vector(*pair) for pair in zip(self.parameters, tensors, strict=True)]
        flat = vectors[0] if len(vectors) == 1 else torch.cat(vectors)
        return flat.float() if flat.dtype in (torch.float16, torch.bfloat16) else flat

    @property
    def is_sharded(self) -> bool:
        """Whether this process holds only a part of these parameters."""
        return any(_number_of_shards(parameter) > 1 for parameter in self.parameters)

    def values(self) -> Tensor:
        """The parameters as a vector; see `flatten`."""
        return self.flatten(self.parameters)

    def gradients(self) -> Tensor:
        """The gradients of the quantity that is minimised, as a vector; see `flatten`."""
        flat = self.flatten([parameter.grad for parameter in self.parameters])
        return -flat if self.group.get("maximize", False) else flat

    def expand(self, numbers: Sequence[float | Tensor | None]) -> float | Tensor:
        """One number for each parameter, repeated for its elements; one number alone if all are the same.

        Where a number is None, the elements are any number.
        """
        given = [number for number in numbers if number is not None]
        if not any(isinstance(number, Tensor) for number in given) and len(set(given)) <= 1:
            return given[0] if given else 1.0
        if len(given) == len(numbers) == 1:
            return given[0]
        ones = [torch.ones_like(part) for part in self.split(self.values())]
        return torch.cat([one * (1 if n is None else n) for one, n in zip(ones, numbers, strict=True)])

    def split(self, vector: Tensor) -> Sequence[Tensor]:
        """The part of a vector that belongs to each parameter."""
        if self.stop is not None:
            return [vector]
        return torch.split(vector, [_local_real(parameter).numel() for parameter in self.parameters])

    def _vector(self, parameter: Tensor, tensor: Tensor | None) -> Tensor:
        if tensor is None:
            return torch.zeros_like(_vector(parameter, self.start, self.stop))
        return _vector(tensor, self.start, self.stop)

    @torch.no_grad()
    def write(self, vector: Tensor) -> None:
        """Set the parameters, in place."""
        for parameter, part in zip(self.parameters, self.split(vector), strict=True):
            local = _local_real(parameter)
            if self.stop is not None:
                local.view(-1)[self.start : self.stop].copy_(part)
            else:
                local.copy_(part.view(local.shape))


def flat_params(group: ParamGroup, world_size: int = 1, exclude: Container[Tensor] = ()) -> Iterator[FlatParams]:
    """The trainable parameters of a group as vectors.

    Args:
        group: of an optimizer.
        world_size: number of processes that train together.
        exclude: parameters to leave out.
    """
    pending: dict[Any, list[Tensor]] = {}
    elements: dict[Any, int] = {}  # of those pending
    for parameter in group["params"]:
        if not parameter.requires_grad or parameter.numel() == 0 or parameter in exclude:
            continue
        share, local = _number_of_shards(parameter) / world_size, _local_real(parameter)
        limit = _max_elements(local.device)
        if local.numel() > limit and local.is_contiguous():
            for start in range(0, local.numel(), limit):
                yield FlatParams(group, (parameter,), share, start, min(start + limit, local.numel()))
            continue
        kind = parameter.device, parameter.dtype, share
        alike = pending.setdefault(kind, [])
        if alike and elements[kind] + local.numel() > limit:
            yield FlatParams(group, tuple(alike), share)
            alike.clear()
        elements[kind] = local.numel() + (elements[kind] if alike else 0)
        alike.append(parameter)
    for (_, _, share), alike in pending.items():
        yield FlatParams(group, tuple(alike), share)


def _max_elements(device: torch.device) -> int:
    return constants.CPU_VECTOR_ELEMENTS if device.type == "cpu" else constants.ACCELERATOR_VECTOR_ELEMENTS


def _vector(tensor: Any, start: int, stop: int | None) -> Tensor:
    local: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    if local.is_sparse:
        if stop is not None and local.sparse_dim() == 1 and not local.is_complex():
            return _slice_of_sparse(local, start, stop)
        local = local.to_dense()
    if local.is_complex():
        local = torch.view_as_real(local)
    return local.reshape(-1) if stop is None else local.reshape(-1)[start:stop]


def _slice_of_sparse(gradient: Tensor, start: int, stop: int) -> Tensor:
    """Some elements of a gradient with sparse rows, which may be too large to be made dense as a whole."""
    gradient = gradient.coalesce()
    width = gradient[0].numel()
    first, end = start // width, -(-stop // width)
    rows = gradient.indices()[0]
    # rows outside go to an extra one at the end, since counting those inside would wait for the device
    targets = torch.where((rows >= first) & (rows < end), rows - first, end - first)
    dense = gradient.values().new_zeros(end - first + 1, width)
    dense[targets] = gradient.values().reshape(-1, width)
    return dense.reshape(-1)[start - first * width : stop - first * width]


def _local_real(tensor: Any) -> Tensor:
    """The part of a tensor that this process holds (a DTensor of a sharded model is divided), as real numbers."""
    local: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return torch.view_as_real(local) if local.is_complex() else local


def _number_of_shards(tensor: Any) -> int:
    """Into how many parts a tensor is divided among processes."""
    shards = 1
    if hasattr(tensor, "to_local"):
        for dimension, placement in enumerate(tensor.placements):
            shards *= tensor.device_mesh.size(dimension) if placement.is_shard() else 1
    return shards
