"""Iterators that a module holds. Nothing can set them back, so a rehearsal leaves them where its training has come to.

Copies would not help: a generator or an iterator of a loader has none, and what else holds the iterator would keep the
old one.
"""

from __future__ import annotations

import io
import types
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset, Sampler

from lightning_lr.trainer.lightning_packages import either
from lightning_lr.trainer.restorers import slot_values, slots_of
from lightning_lr.trainer.snapshot import CONSTANT_TYPES, MODULES_OF_RUNNING_OBJECTS
from lightning_lr.trainer.strategies import NOT_SNAPSHOTTED

# A rehearsal reads data through iterators of its own, and files are no iterators to a training step.
_NOT_ENTERED = (
    *CONSTANT_TYPES,
    *NOT_SNAPSHOTTED,
    *either("LightningDataModule"),
    *(Tensor, Optimizer, DataLoader, Dataset, Sampler, io.IOBase),
)


def warn_of_held_iterators(owner: str, trainer: Trainer) -> None:
    """Warn of the iterators that the module holds, if there are any.

    Args:
        owner: name of the callback that begins a rehearsal.
        trainer: a Trainer in ``fit``.
    """
    loader = trainer.fit_loop._combined_loader
    assert loader is not None
    replayed = [
        part for each in loader.flattened for part in (each, *_attributes(getattr(each, "dataset", None)).values())
    ]
    names = held_iterators(trainer.lightning_module, replayed)
    if names:
        rank_zero_warn(
            f"{owner} cannot rewind iterators ({', '.join(names)}): if training_step takes items of them, the run"
            " begins where the test has left them, so make them anew in on_train_start or read them from the Trainer's"
            " loaders."
        )


def held_iterators(module: nn.Module, skipped: Iterable[object] = ()) -> list[str]:
    """The names of all iterators in attributes, containers and objects, such as ``model.aux``.

    Args:
        module: the module.
        skipped: the iterators among these are not named.
    """
    seen = {id(obj): obj for obj in skipped if isinstance(obj, Iterator)}
    found: list[str] = []
    todo: deque[tuple[str, Any]] = deque([("model", module)])
    while todo:
        name, obj = todo.popleft()  # the shortest name first
        if id(obj) in seen:
            continue
        seen[id(obj)] = obj
        if MODULES_OF_RUNNING_OBJECTS.match(type(obj).__module__) and not isinstance(obj, nn.Module):
            continue
        if isinstance(obj, Iterator):
            if not (isinstance(obj, types.GeneratorType) and obj.gi_frame is None):  # one that has ended stays so
                found.append(name)
        else:
            todo += _children(name, obj)
    return found


def _children(name: str, obj: Any) -> list[tuple[str, Any]]:
    items: Iterable[tuple[object, Any]] = ()
    if isinstance(obj, dict):
        items = dict.items(obj)
    elif isinstance(obj, (list, tuple, deque, set, frozenset)):
        items = enumerate(obj)
    places = [(".{}", _attributes(obj).items()), ("[{!r}]", items)]
    return [
        (name + place.format(key), child)
        for place, children in places
        for key, child in children
        if not isinstance(child, _NOT_ENTERED)  # asked first, since to write millions of names takes long
    ]


def _attributes(obj: Any) -> dict[str, Any]:
    kind: Any = type(obj)
    attributes: dict[str, Any] = {slot.__name__: value for slot, value in slot_values(obj, slots_of(kind)).items()}
    own = getattr(obj, "__dict__", None)
    attributes.update(own if type(own) is dict else {})  # a __getattr__ may answer anything
    attributes.pop("_hparams_initial", None)  # copies, which Lightning never reads from
    if isinstance(obj, nn.Module):
        attributes |= attributes.pop("_modules", {})
    return attributes
