"""Learning rates that are scaled behind the back of whatever schedules them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lightning_lr.optimizers.param_groups import ParamGroup


class ScaledRates:
    """Keeps ``lr = scale · own`` in the groups of an optimizer, own being what the user or a scheduler gave.

    A group always holds the learning rate that its next step uses, so that this is what monitors show. A scheduler that
    is watched finds its own values when it steps. Whatever else anything writes is an own value.

    Nothing is read from the device: that someone has written is seen by the identity of a float, or a tensor's version.

    Args:
        optimizer: whose groups are scaled.
        own: own values of the groups, where these hold scaled ones already.

    Attributes:
        scales: of each group. They hold from the next `write` on.
    """

    def __init__(self, optimizer: Optimizer, own: list[float] | None = None) -> None:
        self._optimizer = optimizer
        self._own = [_copy(group["lr"]) for group in self._groups]
        for i, value in enumerate(own or []):
            self._own[i] = _like(self._own[i], value)
        self._marks = [_mark(group) for group in self._groups]
        self._watched: list[tuple[Any, type]] = []
        self.scales = [1.0] * len(self._groups)
        self._written: list[float | None] = [None] * len(self._groups)  # the scales that the groups hold

    @property
    def _groups(self) -> list[ParamGroup]:
        return self._optimizer.param_groups  # another list after a state was loaded

    def own(self) -> list[float]:
        """The own values. Waits for the device if they are tensors."""
        return [float(value) for value in self._own]

    def take(self, are_scaled: bool = False) -> None:
        """Take what others have written, and the groups they have added.

        Args:
            are_scaled: they went by what the groups hold, so that what they wrote to them is scaled already.
        """
        for i, group in enumerate(self._groups):
            if i == len(self._own):
                # its learning rate is in proportion to what the others hold, but for the one that torch fills in
                is_own = group["lr"] is self._optimizer.defaults.get("lr")
                self.scales.append(self.scales[0])
                self._own.append(_copy(group["lr"]) / (1 if is_own else self.scales[i]))
                self._marks.append(_mark(group))
                self._written.append(None)
            elif not _is_same(_mark(group), self._marks[i]):
                taken = _copy(group["lr"]) / (self.scales[i] if are_scaled else 1)
                self._own[i] = self._unless_ours(i, taken)
                self._marks[i] = _mark(group)
                self._written[i] = None

    def _unless_ours(self, i: int, taken: float | Tensor) -> float | Tensor:
        """What was taken, or the own value if a tensor holds what we have written, as a rehearsal leaves it."""
        written = self._written[i]
        if written is None or not isinstance(taken, Tensor):
            return taken
        return torch.where(self._groups[i]["lr"] == self._own[i] * written, self._own[i], taken)

    def write(self) -> None:
        """Set the learning rates of the coming step."""
        for i, (group, own, scale) in enumerate(zip(self._groups, self._own, self.scales, strict=True)):
            if self._written[i] != scale:
                self._set(i, group, own * scale)
                self._written[i] = scale

    @contextmanager
    def unscaled(self) -> Iterator[None]:
        """The groups hold their own values within, but for those that others have written since the last `take`."""
        ours = [_is_same(_mark(group), mark) for group, mark in zip(self._groups, self._marks, strict=False)]
        for i, is_ours in enumerate(ours):
            if is_ours:
                self._set(i, self._groups[i], self._own[i])
        try:
            yield
        finally:
            for i, is_ours in enumerate(ours):
                if is_ours:
                    self._own[i] = _copy(self._groups[i]["lr"])
                    self._set(i, self._groups[i], self._own[i] * self.scales[i])

    def watch(self, scheduler: Any) -> None:
        """Let a scheduler of this optimizer step on its own values, from now on.

        It may have set the groups already when it was made, from the scaled values that they held.
        """
        kind = type(scheduler)
        if any(scheduler is watched for watched, _ in self._watched):
            return
        self.take(are_scaled=True)
        unscaled = self.unscaled

        class OnOwnRates(kind):  # type: ignore[misc, valid-type]
            # not a method of the object, which would go into its state in checkpoints
            def step(self, *args: Any, **kwargs: Any) -> None:
                with unscaled():
                    super().step(*args, **kwargs)

        OnOwnRates.__name__, OnOwnRates.__qualname__ = kind.__name__, kind.__qualname__
        scheduler.__class__ = OnOwnRates
        self._watched.append((scheduler, kind))

    def has_unwatched_scheduler(self) -> bool:
        """Whether a scheduler of torch steps this optimizer's learning rates that is not watched."""
        # torch's schedulers leave a mark on an optimizer, whose name has changed over the versions
        marks = "_wrapped_by_lr_sched", "_with_counter"
        return not self._watched and any(hasattr(self._optimizer.step, mark) for mark in marks)

    def let_go(self) -> None:
        """Watch no scheduler any more. The groups stay as they are."""
        for scheduler, kind in self._watched:
            scheduler.__class__ = kind
        self._watched.clear()

    def _set(self, i: int, group: ParamGroup, value: float | Tensor) -> None:
        if isinstance(group["lr"], Tensor):
            group["lr"].copy_(torch.as_tensor(value))
        else:
            group["lr"] = value
        self._marks[i] = _mark(group)


def _copy(lr: float | Tensor) -> float | Tensor:
    return lr.detach().clone() if isinstance(lr, Tensor) else lr


def _like(lr: float | Tensor, value: float) -> float | Tensor:
    return lr.fill_(value) if isinstance(lr, Tensor) else value


def _mark(group: ParamGroup) -> object:
    lr = group["lr"]
    return (id(lr), lr._version) if isinstance(lr, Tensor) else lr


def _is_same(mark: object, before: object) -> bool:
    return mark == before if isinstance(mark, tuple) else mark is before
