"""A snapshot of live objects, which is later put back *in place*.

Everything that can be reached from the roots is remembered: tensors (parameters, buffers, optimizer state,
metric states), attributes, lists, dicts, sets, arrays and random generators, and the global random states.
Putting back changes contents and never replaces an object: optimizers, compiled, DDP and FSDP modules hold on to
the identity of parameters, and users hold references to lists and dicts of their own.
"""

from __future__ import annotations

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
_ATOMS = (str, bytes, int, float, complex, type(None), type, types.ModuleType, types.FunctionType, types.MethodType)
# Running things: threads, processes, handles, compiled code. To change their attributes behind their back would break
# them, and iterators cannot be wound back.
_RUNNING = re.compile(
    r"(threading|_thread|multiprocessing|concurrent|queue|_queue|logging|asyncio|socket|io|_io|subprocess|weakref"
    r"|torch\._C|torch\._dynamo|torch\._inductor|torch\.distributed|torch\.fx)(\.|$)"
)
# A container of a dataset that is longer than this holds data, which training reads and does not change.
_LONGEST_DATASET_CONTAINER = 1000

Undo = Callable[[], object]


class Snapshot:
    """The contents of all that can be reached from ``roots``, and the global random states.

    Args:
        roots: the objects to remember.
        data: loaders and data modules to remember like datasets: all but the samples themselves.
        leave: types whose instances are neither entered nor changed.
        keep_on: where the copies of tensors live: ``"device"`` (beside the tensor, fast) or ``"cpu"`` (host memory).

    The samples of a ``torch.utils.data.Dataset`` are not copied: its tensors, arrays and long containers are taken to
    be read only. Its other attributes and its random generators are remembered.
    """

    def __init__(
        self,
        roots: Iterable[object],
        *,
        data: Iterable[object] = (),
        leave: tuple[type, ...] = (),
        keep_on: Literal["device", "cpu"] = "device",
    ) -> None:
        self._leave = leave
        self._keep_on = keep_on
        self._undo: list[Undo] = [_global_random_states()]
        self._seen: dict[int, object] = {}  # holds the objects, so that no id is given twice
        self._storages: set[int] = set()
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
        is_data = is_data or isinstance(obj, Dataset)
        if isinstance(obj, Tensor):
            if not is_data:
                yield from ((child, False) for child in self._remember_tensor(obj))
            return
        if isinstance(obj, np.ndarray):
            if not is_data:
                self._undo.append(_array(obj))
            return
        if undo := _generator(obj):
            self._undo.append(undo)
            return
        if _RUNNING.match(type(obj).__module__) and not isinstance(obj, nn.Module):
            return
        if isinstance(obj, (list, deque, dict, set)):
            if is_data and len(obj) > _LONGEST_DATASET_CONTAINER:
                return
            self._undo.append(_container(obj))
            children = (*obj.keys(), *obj.values()) if isinstance(obj, dict) else tuple(obj)
            yield from ((child, is_data) for child in children)
        elif isinstance(obj, (tuple, frozenset)):
            yield from ((child, is_data) for child in obj)
        if type(attributes := getattr(obj, "__dict__", None)) is dict:
            self._undo.append(_container(attributes))
            yield from ((child, is_data) for child in attributes.values())
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
            kept = whole.clone() if self._keep_on == "device" else whole.to("cpu", copy=True)
            self._undo.append(lambda: whole.copy_(kept))


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

    def undo() -> None:
        if array.flags.writeable:
            array[...] = copy

    return undo


def _container(container: Any) -> Undo:
    # by the methods of the built-in type: a subclass may forbid or change its own
    builtin: Any = next(kind for kind in (OrderedDict, dict, set, deque, list) if isinstance(container, kind))
    copy = dict(container) if isinstance(container, dict) else list(container)
    fill = builtin.update if isinstance(container, (dict, set)) else builtin.extend

    def undo() -> None:
        builtin.clear(container)
        fill(container, copy)

    return undo


def _generator(obj: Any) -> Undo | None:
    """How to put back a random generator, None for anything else."""
    if isinstance(obj, torch.Generator):
        torch_state = obj.get_state()
        return lambda: obj.set_state(torch_state)
    if isinstance(obj, random.Random):
        python_state = obj.getstate()
        return lambda: obj.setstate(python_state)
    if isinstance(obj, np.random.Generator):
        bits, bits_state = obj.bit_generator, obj.bit_generator.state
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
