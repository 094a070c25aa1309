"""Everything that can be reached from some objects, as values that can be compared."""

from __future__ import annotations

import random
import re
from array import array
from collections import deque
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer
from torch.utils.data.dataloader import _BaseDataLoaderIter

from tests.helpers.lightning_classes import Callback, Logger, Strategy, Trainer

_NOT_ENTERED = (Trainer, Strategy, Logger, Callback, _BaseDataLoaderIter, str, bytes, type, ModuleType)


def flatten(**roots: object) -> dict[str, object]:
    """Every object that can be reached from the roots, by each of its paths."""
    found: dict[str, object] = {}
    seen: dict[int, object] = {}
    todo = list(reversed(roots.items()))
    while todo:
        path, obj = todo.pop()
        found[path] = obj
        if id(obj) in seen or isinstance(obj, _NOT_ENTERED) or is_function(obj):
            continue
        if type(obj).__module__.startswith("torch.distributed") and not isinstance(obj, (Tensor, nn.Module)):
            continue
        seen[id(obj)] = obj
        todo.extend(reversed(_children(path, obj)))
    return found


def _children(path: str, obj: object) -> list[tuple[str, object]]:
    children: list[tuple[str, object]] = []
    if isinstance(obj, Mapping):
        for i, (key, value) in enumerate(obj.items()):
            children += [(f"{path}[{key if isinstance(key, str) else i}]", value)]  # a number may be an id
            if not isinstance(key, (str, int)):
                children += [(f"{path}.key{i}", key)]
    elif isinstance(obj, (list, tuple, set, frozenset, deque)):
        items = sorted(obj, key=repr) if isinstance(obj, (set, frozenset)) else obj
        children += [(f"{path}[{i}]", item) for i, item in enumerate(items)]
    elif isinstance(obj, np.ndarray) and obj.dtype == object:
        children += [(f"{path}[{i}]", item) for i, item in enumerate(obj.flat)]
    if isinstance(obj, Tensor):
        children += [(f"{path}.grad", obj.grad)] if obj.is_leaf else []
        children += [(f"{path}.{name}", value) for name, value in vars(obj).items()]
    elif not isinstance(obj, (torch.Generator, np.random.Generator, np.random.RandomState, random.Random, np.ndarray)):
        slots = {name for cls in type(obj).__mro__ for name in getattr(cls, "__slots__", ())}
        names = {*getattr(obj, "__dict__", {}), *slots} - {"__weakref__", "__dict__"}
        children += [(f"{path}.{name}", getattr(obj, name)) for name in sorted(names) if hasattr(obj, name)]
    return children


def is_function(obj: object) -> bool:
    return callable(obj) and not isinstance(obj, (nn.Module, Optimizer))


def contents(objects: Mapping[str, object]) -> dict[str, object]:
    """What ``flatten`` found, as values. An object that was found before has the path where it was found first."""
    first: dict[int, str] = {}
    return {path: _value(obj, first.setdefault(id(obj), path)) for path, obj in objects.items()}


def _value(obj: object, path: str) -> object:
    if isinstance(obj, Tensor):
        local = obj.to_local() if isinstance(obj, DTensor) else obj
        flat = local.detach().cpu().to_dense().contiguous().reshape(-1)
        if flat.is_floating_point():
            flat = torch.where(flat.isnan(), torch.nan, flat)  # the sign of a NaN depends on the hardware
        bits = flat.view(torch.uint8).numpy().tobytes()
        return path, str(flat[:6].tolist()), obj.dtype, tuple(obj.shape), obj.requires_grad, bits
    if isinstance(obj, np.ndarray):
        return path, obj.dtype, obj.shape, None if obj.dtype == object else obj.tobytes()
    if isinstance(obj, (bytearray, array)):
        return path, repr(obj)
    if isinstance(obj, torch.Generator):
        return path, obj.get_state().numpy().tobytes()
    if isinstance(obj, np.random.Generator):
        return path, repr(obj.bit_generator.state)
    if isinstance(obj, np.random.RandomState):
        return path, *_legacy_state(obj.get_state())
    if isinstance(obj, random.Random):
        return path, repr(obj.getstate())
    if isinstance(obj, str):
        return re.sub(r"/\S*/with(out)?/", "", obj)  # the folder of a run
    if isinstance(obj, (int, float, complex, bytes, type(None))):
        return repr(obj)
    if is_function(obj):
        return getattr(obj, "__qualname__", type(obj).__qualname__)
    return path, type(obj).__qualname__


def _legacy_state(state: Any) -> tuple[object, ...]:
    """The state of a generator of numpy, with its 624 numbers as bytes: to print them takes long."""
    name, numbers, *others = state
    return name, numbers.tobytes(), *others


def random_states() -> dict[str, object]:
    """The states of the global random generators."""
    return {
        "python": repr(random.getstate()),
        "numpy": _legacy_state(np.random.get_state()),  # noqa: NPY002
        "torch": torch.get_rng_state().numpy().tobytes(),
        "cuda": torch.cuda.get_rng_state().numpy().tobytes() if torch.cuda.is_available() else None,
    }


def assert_equal(with_: Mapping[str, object], without: Mapping[str, object]) -> None:
    """Raise unless the paths and values are the same, with the first differences."""
    absent = "absent"
    different = [path for path in {**without, **with_} if with_.get(path, absent) != without.get(path, absent)]
    shown = "".join(
        f"\n{path}:\n   with    {str(with_.get(path, absent))[:200]}\n   without {str(without.get(path, absent))[:200]}"
        for path in different[:8]
    )
    assert not different, f"{len(different)} differ{shown}"
