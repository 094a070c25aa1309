"""Multiply the learning rates that schedulers set, so that the schedulers do not notice."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lightning_lr.optimizers.param_groups import ParamGroup


class ScaledLRs:
    """Keeps ``lr = scale · scheduled lr`` in the groups of an optimizer.

    The scheduled learning rate is what the user, a scheduler or another callback has set. A group always holds the
    learning rate of its next step, so that monitors show that one. A watched scheduler finds scheduled learning rates
    in the groups when it steps.

    Nothing is read from the device. That something else has written to a group is seen by the identity of a float, or
    by the version of a tensor.

    Args:
        optimizer: whose groups are scaled.
        scheduled: scheduled learning rates, where the groups hold scaled ones already; by default what they hold.
        max_lr: learning rate above which no tensor is set. Whoever chooses the scales may not know what a tensor on a
            device holds.

    Attributes:
        scales: of each group, as last written.
    """

    def __init__(self, optimizer: Optimizer, scheduled: list[float] | None = None, *, max_lr: float = math.inf) -> None:
        self._optimizer, self._max_lr = optimizer, max_lr
        groups = optimizer.param_groups
        self._scheduled = [_copy(group["lr"]) for group in groups]
        for i, value in enumerate(scheduled or []):
            self._scheduled[i] = _like(self._scheduled[i], value)
        self._held = [_held(group) for group in groups]
        self._watched: list[tuple[Any, type]] = []
        self._has_scheduler_stepped = False
        self.scales = [1.0] * len(groups)
        self._is_written = [False] * len(groups)  # whether a group holds scale · scheduled lr

    def scheduled(self) -> list[float]:
        """The scheduled learning rates. Waits for the device if they are tensors there."""
        return [float(value) for value in self._scheduled]

    def take(self, are_scaled: bool = False) -> bool:
        """Take learning rates that something else has written, and groups that were added.

        Args:
            are_scaled: the writer has computed them from what the groups hold, which is scaled.

        Returns:
            Whether any scheduled learning rate has been set since the last call, by a watched scheduler too.
        """
        has_changed, self._has_scheduler_stepped = self._has_scheduler_stepped, False
        for i, group in enumerate(self._optimizer.param_groups):
            lr = group["lr"]
            if i == len(self._scheduled):
                # computed from what the other groups hold, unless torch has filled in the default
                is_default = lr is self._optimizer.defaults.get("lr")
                self.scales.append(self.scales[0])
                self._scheduled.append(_copy(lr) / (1 if is_default else self.scales[i]))
                self._held.append(_held(group))
                self._is_written.append(False)
                has_changed = True
            elif not _is_held(lr, *self._held[i]):
                taken = _copy(lr) / (self.scales[i] if are_scaled else 1)
                if self._is_written[i] and isinstance(taken, Tensor):
                    # a rehearsal writes back what a tensor held: then the scheduled learning rate is the same
                    is_ours = lr == self._scaled(i)
                    taken = torch.where(is_ours, self._scheduled[i], taken)
                self._scheduled[i] = taken
                self._held[i] = _held(group)
                self._is_written[i] = False
                has_changed = True
        return has_changed

    def write(self, scales: Sequence[float]) -> None:
        """Set the learning rates of the coming step, with one scale for each group."""
        for i, (group, scale) in enumerate(zip(self._optimizer.param_groups, scales, strict=True)):
            if scale != self.scales[i] or not self._is_written[i]:
                self.scales[i], self._is_written[i] = scale, True
                self._set(i, group, self._scaled(i))

    @contextmanager
    def unscaled(self) -> Iterator[None]:
        """Within, the groups hold scheduled learning rates, except those written by others since the last `take`."""
        groups = self._optimizer.param_groups
        ours = [_is_held(group["lr"], *held) for group, held in zip(groups, self._held, strict=False)]
        for i, is_ours in enumerate(ours):
            if is_ours:
                self._set(i, groups[i], self._scheduled[i])
        try:
            yield
        finally:
            groups, self._has_scheduler_stepped = self._optimizer.param_groups, True
            for i, is_ours in enumerate(ours):
                if is_ours:
                    self._scheduled[i] = _copy(groups[i]["lr"])
                    self._set(i, groups[i], self._scaled(i))

    def watch(self, scheduler: Any) -> None:
        """Let a scheduler of this optimizer step on scheduled learning rates, from now on.

        When it was made, it may have set the groups already, from the scaled learning rates that they held.
        """
        kind = type(scheduler)
        if any(scheduler is watched for watched, _ in self._watched):
            return
        self.take(are_scaled=True)
        unscaled = self.unscaled

        class Unscaled(kind):  # type: ignore[misc, valid-type]
            # a method on the object itself would go into the scheduler's state in checkpoints
            def step(self, *args: Any, **kwargs: Any) -> None:
                with unscaled():
                    super().step(*args, **kwargs)

        Unscaled.__name__, Unscaled.__qualname__ = kind.__name__, kind.__qualname__
        scheduler.__class__ = Unscaled
        self._watched.append((scheduler, kind))

    def has_unwatched_scheduler(self) -> bool:
        """Whether a scheduler of torch that is not watched steps this optimizer's learning rates."""
        # torch's schedulers set one of these on the step of an optimizer, depending on the version
        marks = "_wrapped_by_lr_sched", "_with_counter"
        return not self._watched and any(hasattr(self._optimizer.step, mark) for mark in marks)

    def detach(self) -> None:
        """Watch no scheduler any more. The groups stay as they are."""
        for scheduler, kind in self._watched:
            scheduler.__class__ = kind
        self._watched.clear()

    def _scaled(self, i: int) -> float | Tensor:
        lr = self._scheduled[i] * self.scales[i]
        return lr.clamp(max=self._max_lr) if isinstance(lr, Tensor) and self._max_lr < math.inf else lr

    def _set(self, i: int, group: ParamGroup, value: float | Tensor) -> None:
        if isinstance(group["lr"], Tensor):
            group["lr"].copy_(torch.as_tensor(value))
        else:
            group["lr"] = value
        self._held[i] = _held(group)


def _copy(lr: float | Tensor) -> float | Tensor:
    return lr.detach().clone() if isinstance(lr, Tensor) else lr


def _like(lr: float | Tensor, value: float) -> float | Tensor:
    return lr.fill_(value) if isinstance(lr, Tensor) else value


def _held(group: ParamGroup) -> tuple[float | Tensor, int]:
    """What a group holds: the object, and its version if it is a tensor."""
    lr = group["lr"]
    return lr, lr._version if isinstance(lr, Tensor) else 0


def _is_held(lr: float | Tensor, before: float | Tensor, version: int) -> bool:
    return lr is before and (not isinstance(lr, Tensor) or lr._version == version)
