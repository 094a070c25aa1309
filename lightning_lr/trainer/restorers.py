"""Copies of the contents of one object each, as functions that restore them in place."""

from __future__ import annotations

import functools
import operator
import random
import types
from array import array
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

Restorer = Callable[[], object]


def storage_restorer(
    storage: torch.UntypedStorage, device: torch.device, snapshot_device: Literal["device", "cpu"]
) -> Restorer:
    """Restores the bytes of a tensor's storage, and its size.

    Args:
        storage: the storage.
        device: where it is.
        snapshot_device: where the copy lives, ``"device"`` for the same device or ``"cpu"``.
    """
    all_bytes = torch.empty(0, dtype=torch.uint8, device=device).set_(storage)
    copy = all_bytes.clone() if snapshot_device == "device" else all_bytes.to("cpu", copy=True)

    def restore() -> None:
        if storage.nbytes() != copy.nbytes:  # FSDP resizes storages to free their memory
            storage.resize_(copy.nbytes)
        all_bytes.copy_(copy)

    return restore


def view_restorer(tensor: Tensor) -> Restorer:
    """Restores which part of which storage a tensor shows."""
    alias = tensor.detach()

    def restore() -> None:
        if (tensor.data_ptr(), tensor.shape, tensor.stride()) != (alias.data_ptr(), alias.shape, alias.stride()):
            tensor.data = alias

    return restore


def autograd_restorer(tensor: Tensor) -> Restorer:
    """Restores ``requires_grad`` and which tensor is the gradient."""
    requires_grad, grad = tensor.requires_grad, tensor.grad

    def restore() -> None:
        if tensor.requires_grad != requires_grad:
            tensor.requires_grad_(requires_grad)
        tensor.grad = grad

    return restore


def array_restorer(array: np.ndarray[Any, Any]) -> Restorer:
    """Restores the numbers of a NumPy array."""
    copy = array.copy()
    return lambda: np.copyto(array, copy)


def buffer_restorer(buffer: bytearray | array[Any]) -> Restorer:
    """Restores the bytes or numbers of a ``bytearray`` or ``array.array``."""
    copy = buffer[:]

    def restore() -> None:
        if buffer != copy:  # while a memoryview is open its length cannot be set, not even to what it is
            buffer[:] = copy  # type: ignore[assignment]  # each has its own kind

    return restore


def container_restorer(container: Any) -> Restorer:
    """Restores which objects a list, deque, dict or set holds."""
    # Uses the methods of the built-in type: a subclass may forbid or change them.
    builtin: Any = next(kind for kind in (OrderedDict, dict, set, deque, list) if isinstance(container, kind))
    is_dict = issubclass(builtin, dict)

    def items() -> list[Any]:
        return [*builtin.keys(container), *builtin.values(container)] if is_dict else list(builtin.__iter__(container))

    before = items()

    def restore() -> None:
        now = items()
        # An unchanged container is not written: iterators over it stay valid, and a set keeps its order, which depends
        # on its history.
        if len(now) == len(before) and all(map(operator.is_, now, before)):
            return
        builtin.clear(container)
        if is_dict:
            for key, value in zip(before[: len(before) // 2], before[len(before) // 2 :], strict=True):
                builtin.__setitem__(container, key, value)
        else:
            (builtin.update if builtin is set else builtin.extend)(container, before)

    return restore


@functools.cache
def slots_of(kind: type) -> list[Any]:
    """The descriptors of the attributes in ``__slots__``."""
    members = [member for cls in kind.__mro__ if "__slots__" in vars(cls) for member in vars(cls).values()]
    return [member for member in members if isinstance(member, types.MemberDescriptorType)]


def slot_values(obj: object, slots: list[Any]) -> dict[Any, object]:
    """The attributes in ``__slots__`` by their descriptors, without those that have no value."""
    values = {}
    for slot in slots:
        with suppress(AttributeError):  # a slot may be empty
            values[slot] = slot.__get__(obj)
    return values


def slots_restorer(obj: object, slots: list[Any]) -> Restorer:
    """Restores which objects the attributes in ``__slots__`` are."""
    values = slot_values(obj, slots)

    def restore() -> None:
        for slot in slot_values(obj, slots).keys() - values.keys():
            slot.__delete__(obj)
        for slot, value in values.items():
            slot.__set__(obj, value)

    return restore


def generator_restorer(obj: Any) -> Restorer | None:
    """Restores the state of a random generator; None for anything else."""
    if isinstance(obj, torch.Generator):
        torch_state = obj.get_state()
        return lambda: obj.set_state(torch_state)
    if isinstance(obj, random.Random) and not isinstance(obj, random.SystemRandom):
        python_state = obj.getstate()
        return lambda: obj.setstate(python_state)
    if isinstance(obj, (np.random.Generator, np.random.BitGenerator)):
        bits = obj.bit_generator if isinstance(obj, np.random.Generator) else obj
        bits_state = bits.state
        return lambda: setattr(bits, "state", bits_state)
    if isinstance(obj, np.random.RandomState):
        legacy_state = obj.get_state()
        return lambda: obj.set_state(legacy_state)
    return None


def global_rng_restorer() -> Restorer:
    """Restores the global random states of Python, NumPy and torch, those of its devices too."""
    python_state, numpy_state, torch_state = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    cuda_states = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None  # type: ignore[no-untyped-call]
    mps_state = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None

    def restore() -> None:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        torch.set_rng_state(torch_state)
        if cuda_states is not None:
            torch.cuda.set_rng_state_all(cuda_states)
        if mps_state is not None:
            torch.mps.set_rng_state(mps_state)

    return restore
