"""A snapshot of live objects, which is later put back *in place*.

Everything that can be reached from the roots is remembered: tensors (parameters, buffers, optimizer state,
metric states), attributes, lists, dicts, sets, arrays and random generators, and the global random states.
Putting back changes contents and never replaces an object: optimizers, compiled, DDP and FSDP modules hold on to
the identity of parameters, and users hold references to lists and dicts of their own.
"""

from __future__ import annotations

import functools
import operator
import random
import re
import types
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

# Values without contents that could change, and code.
_ATOMS = (str, bytes, int, float, complex, type(None), type, types.ModuleType, types.FunctionType)
# Running things: threads, processes, handles, compiled code. To change their attributes behind their back would break
# them, and iterators cannot be wound back.
_RUNNING = re.compile(
    r"(threading|_thread|multiprocessing|concurrent|queue|_queue|logging|asyncio|socket|io|_io|subprocess|weakref"
    r"|torch\._C|torch\._dynamo|torch\._inductor|torch\.distributed|torch\.fx)(\.|$)"
)
# What a container of a dataset holds beyond this length, and an array of more bytes or dimensions, are samples. The
# rest may be state: the order of the samples, their weights, a counter.
_MOST_DATASET_ITEMS = 100
_MOST_DATASET_BYTES = 2**24

Undo = Callable[[], object]


class Snapshot:
    """The contents of all that can be reached from ``roots``, and the global random states.

    Args:
        roots: the objects to remember.
        data: loaders and data modules to remember like datasets: all but the samples themselves.
        leave: types whose instances are neither entered nor changed.
        untouched: objects that are neither entered nor changed.
        keep_on: where the copies of tensors live: ``"device"`` (beside the tensor, fast) or ``"cpu"`` (host memory).

    The samples of a ``torch.utils.data.Dataset`` are not copied: its large or multi-dimensional tensors and arrays, and
    what its long containers hold, are taken to be read only. The order of its containers, its other attributes and its
    random generators are remembered.
    """

    def __init__(
        self,
        roots: Iterable[object],
        *,
        data: Iterable[object] = (),
        leave: tuple[type, ...] = (),
        untouched: Iterable[object] = (),
        keep_on: Literal["device", "cpu"] = "device",
    ) -> None:
        self._leave = leave
        self._keep_on = keep_on
        self._undo: list[Undo] = [_global_random_states()]
        self._seen = {id(obj): obj for obj in untouched}  # holds the objects, so that no id is given twice
        self._storages: set[int] = set()
        self.nbytes = 0  # of the tensors' copies
        todo = [*((root, True) for root in data), *((root, False) for root in roots)]  # the last is entered first
        while todo:  # a loop and a list: object graphs may be deeper than Python's stack
            obj, is_data = todo.pop()
            todo.extend(self._remember(obj, is_data))

    def restore(self) -> None:
        """Put all contents back. Can be called any number of times."""
        with torch.no_grad():
            for undo in self._undo:
                undo()

    def _remember(self, obj: Any, is_data: bool) -> Iterator[tuple[object, bool]]:
        """Remember one object and give what it holds, each with whether it belongs to a dataset."""
        if isinstance(obj, _ATOMS) or id(obj) in self._seen or isinstance(obj, (*self._leave, Iterator)):
            return
        self._seen[id(obj)] = obj
        is_data = isinstance(obj, Dataset) or (is_data and not isinstance(obj, nn.Module))
        if isinstance(obj, (Tensor, np.ndarray)):
            if is_data and (obj.ndim > 1 or obj.nbytes > _MOST_DATASET_BYTES):
                return
            if isinstance(obj, Tensor):
                yield from ((child, False) for child in self._remember_tensor(obj))
            elif obj.flags.writeable:
                self._undo.append(_array(obj))
        if undo := _generator(obj):
            self._undo.append(undo)
            return
        if _RUNNING.match(type(obj).__module__) and not isinstance(obj, nn.Module):
            return
        if isinstance(obj, (list, deque, dict, set)):
            self._undo.append(_container(obj))
        if isinstance(obj, (list, deque, dict, set, tuple, frozenset)):
            if not is_data or len(obj) <= _MOST_DATASET_ITEMS:
                children = (*obj.keys(), *obj.values()) if isinstance(obj, dict) else tuple(obj)
                yield from ((child, is_data) for child in children)
        elif isinstance(obj, types.MethodType):
            yield obj.__self__, is_data
        elif isinstance(obj, functools.partial):
            yield (obj.func, obj.args, obj.keywords), is_data
        if type(attributes := getattr(obj, "__dict__", None)) is dict:
            self._undo.append(_container(attributes))
            yield from ((child, is_data) for child in attributes.values())
        kind: Any = type(obj)
        if slots := _slots(kind):
            values = {slot: slot.__get__(obj) for slot in slots if hasattr(obj, slot.__name__)}
            self._undo.append(lambda: _set_slots(obj, slots, values))
            yield from ((child, is_data) for child in values.values())
        if isinstance(obj, nn.Module):  # a scripted module keeps them outside of its attributes
            yield from ((tensor, False) for tensor in (*obj.parameters(recurse=False), *obj.buffers(recurse=False)))

    def _remember_tensor(self, tensor: Tensor) -> Iterator[object]:
        """Remember a tensor: the bytes of its storage once, and which storage, flag and gradient are its own."""
        if tensor.is_meta or tensor.is_inference():  # nothing to change
            return
        if tensor.is_leaf:
            self._undo.append(_flag_and_grad(tensor))
            yield tensor.grad
        if flatten := getattr(tensor, "__tensor_flatten__", None):  # DTensor and other wrappers: their local tensors
            for name in flatten()[0]:
                yield getattr(tensor, name)
            return
        if tensor.layout != torch.strided:
            copy = tensor.detach().clone()
            self._undo.append(lambda: tensor.detach().copy_(copy))
            return
        alias = tensor.detach()
        self._undo.append(lambda: _repoint(tensor, alias))
        storage = tensor.untyped_storage()
        if storage._cdata not in self._storages and storage.nbytes():
            self._storages.add(storage._cdata)
            whole = torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(storage)
            self.nbytes += storage.nbytes()
            kept = whole.clone() if self._keep_on == "device" else whole.to("cpu", copy=True)
            self._undo.append(lambda: _refill(storage, whole, kept))


def _refill(storage: torch.UntypedStorage, whole: Tensor, kept: Tensor) -> None:
    if storage.nbytes() != kept.nbytes:  # as FSDP does, to free the memory
        storage.resize_(kept.nbytes)
    whole.copy_(kept)


def _repoint(tensor: Tensor, alias: Tensor) -> None:
    if (tensor.data_ptr(), tensor.shape, tensor.stride()) != (alias.data_ptr(), alias.shape, alias.stride()):
        tensor.data = alias


def _flag_and_grad(tensor: Tensor) -> Undo:
    requires_grad, grad = tensor.requires_grad, tensor.grad

    def undo() -> None:
        if tensor.requires_grad != requires_grad:
            tensor.requires_grad_(requires_grad)
        tensor.grad = grad

    return undo


def _array(array: np.ndarray[Any, Any]) -> Undo:
    copy = array.copy()
    return lambda: np.copyto(array, copy)


def _container(container: Any) -> Undo:
    # by the methods of the built-in type: a subclass may forbid or change its own
    builtin: Any = next(kind for kind in (OrderedDict, dict, set, deque, list) if isinstance(container, kind))
    is_dict = issubclass(builtin, dict)

    def held() -> list[Any]:
        return [*builtin.keys(container), *builtin.values(container)] if is_dict else list(builtin.__iter__(container))

    before = held()

    def undo() -> None:
        now = held()
        if len(now) == len(before) and all(map(operator.is_, now, before)):
            return  # left alone: an iterator may stand in it, and the order of a set depends on its past
        builtin.clear(container)
        if is_dict:
            for key, value in zip(before[: len(before) // 2], before[len(before) // 2 :], strict=True):
                builtin.__setitem__(container, key, value)
        else:
            (builtin.update if builtin is set else builtin.extend)(container, before)

    return undo


@functools.cache
def _slots(kind: type) -> list[Any]:
    """The descriptors of the attributes that are not in ``__dict__``."""
    members = [member for cls in kind.__mro__ if "__slots__" in vars(cls) for member in vars(cls).values()]
    return [member for member in members if isinstance(member, types.MemberDescriptorType)]


def _set_slots(obj: object, slots: list[Any], values: dict[Any, object]) -> None:
    for slot in slots:
        if slot in values:
            slot.__set__(obj, values[slot])
        elif hasattr(obj, slot.__name__):
            slot.__delete__(obj)


def _generator(obj: Any) -> Undo | None:
    """How to put back a random generator, None for anything else."""
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


def _global_random_states() -> Undo:
    python_state, numpy_state, torch_state = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    cuda_states = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None  # type: ignore[no-untyped-call]
    mps_state = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None

    def undo() -> None:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        torch.set_rng_state(torch_state)
        if cuda_states is not None:
            torch.cuda.set_rng_state_all(cuda_states)
        if mps_state is not None:
            torch.mps.set_rng_state(mps_state)

    return undo
