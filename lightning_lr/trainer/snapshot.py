"""A snapshot of live objects, which can later be restored *in place*.

A snapshot follows references from some root objects. It keeps the contents of every tensor (parameters, buffers,
optimizer and metric states), attribute, list, dict, set, array, bytearray and random generator that it reaches, and the
global random states.

Restoring changes contents and never replaces an object. Optimizers and compiled, DDP and FSDP modules rely on the
identity of parameters, and users keep references to their own lists and dicts.
"""

from __future__ import annotations

import functools
import re
import types
from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from lightning_lr.trainer.restorers import (
    Restorer,
    array_restorer,
    autograd_restorer,
    buffer_restorer,
    container_restorer,
    generator_restorer,
    global_rng_restorer,
    slot_values,
    slots_of,
    slots_restorer,
    storage_restorer,
    view_restorer,
)

# Values that cannot change, and code.
CONSTANT_TYPES = (str, bytes, int, float, complex, type(None), type, types.ModuleType, types.FunctionType)
_MUTABLE_CONTAINERS = (list, deque, dict, set)
_CONTAINERS = (*_MUTABLE_CONTAINERS, tuple, frozenset)
# Threads, processes, handles, compiled code: they run outside of our control, so changing their attributes would break
# them.
MODULES_OF_RUNNING_OBJECTS = re.compile(
    r"(threading|_thread|multiprocessing|concurrent|queue|_queue|logging|asyncio|socket|io|_io|subprocess|weakref"
    r"|torch\._C|torch\._dynamo|torch\._inductor|torch\.distributed(?!\.(algorithms|optim)\.)|torch\.fx)(\.|$)"
)
# Samples are not copied, since they may be large and are only read. State of a dataset is: the order of the samples,
# their weights, a counter. The contents of a container with more items than this are taken for samples ...
_MAX_DATASET_STATE_ITEMS = 100
# ... and so is an array or tensor of more bytes than this, or of more than one dimension. 16 MiB hold the order of
# two million samples.
_MAX_DATASET_STATE_BYTES = 2**24

Child = tuple[object, bool]  # an object that another one holds, and whether it belongs to a dataset


class Snapshot:
    """The contents of everything that ``roots`` reference, and the global random states.

    Of a ``torch.utils.data.Dataset`` the samples are not copied: large or multi-dimensional tensors and arrays, and the
    contents of long containers. Copied are its attributes, its random generators and the order of its containers.

    Args:
        roots: objects to keep.
        data: loaders and data modules to keep. They are treated like datasets: everything but the samples is kept.
        skipped_types: types whose instances are neither kept nor followed.
        skipped: objects that are neither kept nor followed.
        snapshot_device: where the copies of tensors live: ``"device"`` (on the device of the tensor, fast) or ``"cpu"``
            (host memory).

    Attributes:
        nbytes: size of the tensor copies, in bytes.
    """

    def __init__(
        self,
        roots: Iterable[object],
        *,
        data: Iterable[object] = (),
        skipped_types: tuple[type, ...] = (),
        skipped: Iterable[object] = (),
        snapshot_device: Literal["device", "cpu"] = "device",
    ) -> None:
        # iterators too, since they cannot be rewound: `held_iterators` warns of them
        self._skipped_types: tuple[type, ...] = (*CONSTANT_TYPES, Iterator, *skipped_types)
        self._snapshot_device = snapshot_device
        self._restorers: list[Restorer] = [global_rng_restorer()]
        self._seen = {id(obj): obj for obj in skipped}  # holds the objects, so that no id is reused
        self._storages: set[int] = set()
        self.nbytes = 0
        todo: list[Child] = [*((root, True) for root in data), *((root, False) for root in roots)]
        while todo:  # not recursive: references may be nested deeper than Python's stack
            obj, is_data = todo.pop()
            todo.extend(self._keep(obj, is_data))

    def restore(self) -> None:
        """Restore all contents. Can be called any number of times."""
        with torch.no_grad():
            for restore in self._restorers:
                restore()

    def _keep(self, obj: Any, is_data: bool) -> Iterator[Child]:
        """Keep the contents of one object, and yield the objects that it holds."""
        if id(obj) in self._seen or isinstance(obj, self._skipped_types):
            return
        self._seen[id(obj)] = obj
        is_data = isinstance(obj, Dataset) or (is_data and not isinstance(obj, nn.Module))
        if is_data and _is_samples(obj):
            return
        if isinstance(obj, Tensor):
            yield from ((child, False) for child in self._keep_tensor(obj))
        elif isinstance(obj, np.ndarray):
            if obj.flags.writeable:
                self._restorers.append(array_restorer(obj))
            if obj.dtype == object and not (is_data and obj.size > _MAX_DATASET_STATE_ITEMS):
                yield from ((child, is_data) for child in obj.flat)
        elif isinstance(obj, (bytearray, array)):
            self._restorers.append(buffer_restorer(obj))
        elif restorer := generator_restorer(obj):
            self._restorers.append(restorer)
            return
        if MODULES_OF_RUNNING_OBJECTS.match(type(obj).__module__) and not isinstance(obj, nn.Module):
            return
        if isinstance(obj, _CONTAINERS):
            yield from self._keep_container(obj, is_data)
        yield from self._keep_attributes(obj, is_data)

    def _keep_tensor(self, tensor: Tensor) -> Iterator[object]:
        """Keep a tensor's storage (once for all tensors that share it), its view of it, its flag and its gradient."""
        if tensor.is_meta or tensor.is_inference():  # cannot change
            return
        if tensor.is_leaf:
            self._restorers.append(autograd_restorer(tensor))
            yield tensor.grad
        if flatten := getattr(tensor, "__tensor_flatten__", None):  # DTensor and other wrappers: their local tensors
            for name in flatten()[0]:
                yield getattr(tensor, name)
            return
        if tensor.layout != torch.strided:
            copy = tensor.detach().clone()
            self._restorers.append(lambda: tensor.detach().copy_(copy))
            return
        self._restorers.append(view_restorer(tensor))
        storage = tensor.untyped_storage()
        if storage._cdata not in self._storages and storage.nbytes():
            self._storages.add(storage._cdata)
            self.nbytes += storage.nbytes()
            self._restorers.append(storage_restorer(storage, tensor.device, self._snapshot_device))

    def _keep_container(self, container: Any, is_data: bool) -> Iterator[Child]:
        if isinstance(container, _MUTABLE_CONTAINERS):
            self._restorers.append(container_restorer(container))
        if not is_data or len(container) <= _MAX_DATASET_STATE_ITEMS:
            is_dict = isinstance(container, dict)
            children = (*container.keys(), *container.values()) if is_dict else tuple(container)
            yield from ((child, is_data) for child in children)

    def _keep_attributes(self, obj: Any, is_data: bool) -> Iterator[Child]:
        if isinstance(obj, types.MethodType):
            yield obj.__self__, is_data
        elif isinstance(obj, functools.partial):
            yield (obj.func, obj.args, obj.keywords), is_data
        if type(attributes := getattr(obj, "__dict__", None)) is dict:
            self._restorers.append(container_restorer(attributes))
            yield from ((child, is_data) for child in attributes.values())
        kind: Any = type(obj)
        if slots := slots_of(kind):
            self._restorers.append(slots_restorer(obj, slots))
            yield from ((child, is_data) for child in slot_values(obj, slots).values())
        if isinstance(obj, nn.Module):  # a scripted module does not keep its tensors in attributes
            yield from ((tensor, False) for tensor in (*obj.parameters(recurse=False), *obj.buffers(recurse=False)))


def _is_samples(obj: Any) -> bool:
    """Whether an object that belongs to a dataset is an array or tensor of samples."""
    if isinstance(obj, (bytearray, array)):
        return memoryview(obj).nbytes > _MAX_DATASET_STATE_BYTES
    return isinstance(obj, (Tensor, np.ndarray)) and (obj.ndim > 1 or obj.nbytes > _MAX_DATASET_STATE_BYTES)
