"""States of callbacks in checkpoints: their version, and what a callback says of a state that it cannot use.

A state is checked as a whole before anything of it is taken. Fields that an older version did not save take defaults,
fields that are not known are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from torch import Tensor
from torch.optim import Optimizer

from lightning_lr.arguments import ArgumentRule, refuse
from lightning_lr.trainer.lightning_packages import Callback

# To be raised only when older versions of this package would misread a state: they refuse it then. States of before
# there was a version have none, and count as 0.
STATE_VERSION = 1


class Default(NamedTuple):
    """A field that older versions did not save.

    Attributes:
        rule: for its value.
        value: instead of it. `ABSENT` leaves the field out, for readers that have a default.
    """

    rule: ArgumentRule
    value: Any


ABSENT = object()


def header(callback: Callback) -> dict[str, Any]:
    """What every state begins with."""
    return {"version": STATE_VERSION, "callback": _public_name(callback)}


def checked_state(callback: Callback, state: Any, known: Mapping[str, ArgumentRule | Default]) -> dict[str, Any]:
    """The known fields of a state from a checkpoint.

    Raises:
        ValueError: if it is of another callback or a newer version, or a field is missing or wrong.
    """
    name = _public_name(callback)
    try:
        if not isinstance(state, Mapping):
            raise refuse("it", "be a dict", state)
        owner, version = state.get("callback", name), state.get("version", 0)
        if owner != name:
            raise ValueError(f"it is of {owner!r}.")
        if not isinstance(version, int) or version > STATE_VERSION:
            raise ValueError(f"it has version {version!r}, this lightning_lr reads up to {STATE_VERSION}: update it.")
        return _known_fields("", state, known)
    except ValueError as error:
        raise _unusable(callback, error) from error


def check_vectors(callback: Callback, progress: Iterable[Mapping[str, Any]], optimizers: Iterable[Optimizer]) -> None:
    """Raise a ValueError if vectors in the states of `HypergradientLR` do not fit the parameters."""
    for i, (saved, optimizer) in enumerate(zip(progress, optimizers, strict=False)):
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        movement = saved["adaptation"]["movement"] or {}
        for position, vector in (movement.get("means") or movement.get("gradients") or {}).items():
            if position >= len(parameters):  # of a group that is added while training, as finetuning does
                continue
            found, expected = _number_of_reals(vector), _number_of_reals(parameters[position])
            if found != expected:
                raise _unusable(
                    callback,
                    f"a vector of progress[{i}] has {found} numbers for parameter {position}, which has {expected}.",
                )


def fields(**known: ArgumentRule | Default) -> ArgumentRule:
    """A dict with some fields."""

    def check(name: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise refuse(name, "be a dict", value)
        return _known_fields(f"{name}.", value, known)

    return check


def list_with(rule: ArgumentRule, length: int | None = None) -> ArgumentRule:
    """A list or tuple of any length, or of the one given."""

    def check(name: str, value: Any) -> list[Any]:
        if not isinstance(value, (list, tuple)) or length not in (None, len(value)):
            raise refuse(name, "be a list" if length is None else f"be a list of {length}", value)
        return [rule(f"{name}[{i}]", each) for i, each in enumerate(value)]

    return check


def mapping(name: str, value: Any) -> dict[Any, Any]:
    """A dict with any fields."""
    if not isinstance(value, Mapping):
        raise refuse(name, "be a dict", value)
    return dict(value)


def vectors(name: str, value: Any) -> dict[int, Tensor]:
    """A tensor for each position of a parameter."""
    for position, vector in mapping(name, value).items():
        if type(position) is not int or position < 0:
            raise refuse(name, "have positions of parameters", position)
        if not isinstance(vector, Tensor) or not (vector.is_floating_point() or vector.is_complex()):
            what = f"a tensor of {vector.dtype}" if isinstance(vector, Tensor) else type(vector).__name__
            raise ValueError(f"{name}[{position}] must be a tensor of floating-point numbers, got {what}.")
    return dict(value)


def _known_fields(prefix: str, state: Mapping[str, Any], known: Mapping[str, ArgumentRule | Default]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, field in known.items():
        if name in state:
            found[name] = (field.rule if isinstance(field, Default) else field)(f"{prefix}{name}", state[name])
        elif not isinstance(field, Default):
            raise ValueError(f"{prefix}{name} is missing.")
        elif field.value is not ABSENT:
            found[name] = field.value() if callable(field.value) else field.value
    return found


def _number_of_reals(tensor: Tensor) -> int:
    """Means of complex parameters are saved in real numbers, their gradients as they are."""
    return tensor.numel() * (2 if tensor.is_complex() else 1)


def _public_name(callback: Callback) -> str:
    """The name of the class of this package, also for a subclass of a user."""
    return next(each.__name__ for each in type(callback).__mro__ if each.__module__.startswith("lightning_lr."))


def _unusable(callback: Callback, reason: object) -> ValueError:
    return ValueError(
        f"{_public_name(callback)} cannot use its state in the checkpoint: {reason} Resume from another checkpoint, or"
        f" delete {callback.state_key!r} from 'callbacks' in this one, to begin anew."
    )
