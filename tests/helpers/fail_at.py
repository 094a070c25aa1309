"""Make something fail at a chosen call of a function: a hook, a logger, a loader, the disk.

The model is torchft's ``EventInjector``. What fails is a function of a class or a module, so that a rehearsal, which
restores all objects, does not take the fault back.
"""

from __future__ import annotations

import errno
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Literal, get_args

import torch

Kind = Literal[
    "exception",
    "out of memory",
    "KeyboardInterrupt",
    "SIGTERM",
    "SIGKILL",
    "NaN loss",
    "NaN gradient",
    "slow rank",
    "full disk",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
SLOW_SECONDS = 1.0


class InjectedError(LookupError):
    """The user's own error. No sweep takes a LookupError for a divergence."""


@dataclass
class Fault:
    """A fault that will strike.

    Attributes:
        calls: how often the function has been called in this process.
        files: the files whose functions ran when it struck; empty if it has not.
    """

    calls: int = 0
    files: set[str] = field(default_factory=set)

    def struck_in(self, file: str) -> bool:
        return any(name.endswith(file) for name in self.files)


@contextmanager
def fail_at(owner: Any, hook: str, step: int, rank: int | None = None, kind: Kind = "exception") -> Iterator[Fault]:
    """Within this context one call of a function fails.

    Args:
        owner: the class or module that has the function.
        hook: the function.
        step: the number of the call, from 1, calls in sweeps and searches included; 0 to count only.
        rank: where it fails; None: on all ranks.
        kind: ``"NaN loss"`` changes what the function returns, ``"NaN gradient"`` the gradients of its first argument,
            a module, after it. ``"full disk"`` counts only the calls that open a file to write it.
    """
    fault, original, was_own = Fault(), getattr(owner, hook), hook in vars(owner)

    @wraps(original)
    def failing(*args: Any, **kwargs: Any) -> Any:
        if kind == "full disk" and not _writes(*args, **kwargs):
            return original(*args, **kwargs)
        fault.calls += 1
        is_here = rank is None or rank == int(os.environ.get("LOCAL_RANK", 0))
        if fault.calls != step or not is_here:
            return original(*args, **kwargs)
        fault.files = {frame.filename for frame in traceback.extract_stack()}
        return _strike(kind, lambda: original(*args, **kwargs), args)

    setattr(owner, hook, failing)
    try:
        yield fault
    finally:
        if was_own:
            setattr(owner, hook, original)
        else:
            delattr(owner, hook)


def _writes(file: Any, mode: str = "r", *_: Any, **__: Any) -> bool:
    return any(letter in mode for letter in "wax+")


def _strike(kind: Kind, call: Callable[[], Any], args: tuple[Any, ...]) -> Any:
    if kind == "exception":
        raise InjectedError("the user's own")
    if kind == "out of memory":
        raise torch.OutOfMemoryError("the user's own")
    if kind == "KeyboardInterrupt":
        raise KeyboardInterrupt
    if kind == "full disk":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if kind in ("SIGTERM", "SIGKILL"):
        os.kill(os.getpid(), getattr(signal, kind))
    if kind == "slow rank":
        time.sleep(SLOW_SECONDS)
    result = call()
    if kind == "NaN loss":
        return result * torch.nan
    if kind == "NaN gradient":
        for parameter in args[0].parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(torch.nan)
    return result
