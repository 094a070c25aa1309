"""Let a fault strike a training, and list what is not as it must be afterwards."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from lightning_lr import HypergradientLR
from tests.contracts.rows import ROWS
from tests.contracts.trained import quiet
from tests.faults.training import HOOKS, STEPS, Run
from tests.helpers.fail_at import Fault, InjectedError, Kind, fail_at
from tests.helpers.lightning_classes import Callback, SIGTERMException

ERRORS: dict[Kind, type[BaseException]] = {
    "exception": InjectedError,
    "out of memory": RuntimeError,
    "KeyboardInterrupt": SystemExit,  # Lightning's
    "SIGTERM": SIGTERMException,
}


class Point(NamedTuple):
    """Where a fault strikes.

    Attributes:
        row: name of the callbacks.
        hook: position in `HOOKS`.
        step: number of the call.
        kind: what happens there.
    """

    row: str
    hook: int
    step: int
    kind: Kind

    def __str__(self) -> str:
        owner, name = HOOKS[self.hook]
        return f"{self.kind} at call {self.step} of {owner.__name__}.{name} with {self.row}"


class Reference(NamedTuple):
    """The training that nothing strikes.

    Attributes:
        result: of `Run`.
        parameters: after each number of steps.
        calls: of each of `HOOKS`.
    """

    result: tuple[str, dict[int, list[float]]]
    parameters: dict[int, str]
    calls: list[int]


@cache
def reference(row: str) -> Reference:
    counted = []
    with TemporaryDirectory() as folder, quiet():
        run = Run(ROWS[row].make(), Path(folder, "whole"))
        faults = [fail_at(owner, hook, step=0) for owner, hook in HOOKS]
        counted = [fault.__enter__() for fault in faults]
        error = run.fit()
        for fault in faults:
            fault.__exit__(None, None, None)
        if error is not None:
            raise error
    return Reference(run.result, run.watch.parameters, [fault.calls for fault in counted])


def strike(point: Point) -> list[str]:
    """Strike a training, resume it and use its objects again. Returns what is not as it must be."""
    expected = reference(point.row)
    interrupt = signal.getsignal(signal.SIGINT)
    terminate = signal.signal(signal.SIGTERM, lambda *_: None)  # while Lightning does not listen to it
    with TemporaryDirectory() as folder, quiet():
        try:
            return list(_complaints(point, expected, Path(folder)))
        finally:
            signal.signal(signal.SIGINT, interrupt)  # Lightning ignores it from a first Ctrl-C on
            signal.signal(signal.SIGTERM, terminate)


def _complaints(point: Point, expected: Reference, folder: Path) -> Iterator[str]:
    make = ROWS[point.row].make
    run = Run(make(), folder / "struck")
    with fail_at(*HOOKS[point.hook], step=point.step, kind=point.kind) as fault:
        if point.kind == "SIGKILL":
            if (signum := _fit_in_child(run)) != signal.SIGKILL:
                yield f"the process ended with {signum}"
        else:
            error = run.fit()
            yield from _wrong_end(point, run, fault, error, expected)
    if files := [str(path) for path in folder.rglob("*") if path.is_file() and path.parent != run.folder]:
        yield f"files left: {files}"
    if not point.kind.startswith("NaN"):
        yield from _wrong_resume(run, make, expected)
    if point.kind != "SIGKILL":
        yield from _wrong_reuse(run, run.callbacks, fault, expected, folder)


def _fit_in_child(run: Run) -> int:
    """The signal that ended the child, 0 if none did."""
    child = os.fork()
    if child == 0:
        run.fit()
        os._exit(0)
    return os.WTERMSIG(os.waitpid(child, 0)[1])


def _wrong_end(point: Point, run: Run, fault: Fault, error: BaseException | None, expected: Reference) -> Iterator[str]:
    if not fault.files:
        yield "it did not strike"
        return
    in_rehearsal = fault.struck_in("trainer/rehearsal.py")
    lrs = [group["lr"] for optimizer in run.trainer.optimizers for group in optimizer.param_groups]
    weights = list(run.module.parameters())
    if point.kind.startswith("NaN"):
        has_guard = any(isinstance(each, HypergradientLR) for each in run.callbacks)
        if error is not None:
            yield f"ended with {error!r}"
        elif not all(map(math.isfinite, lrs)):
            yield f"learning rates {lrs}"
        elif (in_rehearsal or (has_guard and expected.calls[point.hook] - point.step >= 2)) and not all(
            parameter.isfinite().all() for parameter in weights
        ):  # the guard reads what was measured one step late
            yield "weights that are not finite"
        return
    # Lightning looks at the signal after a hook, so it may come too late for a run that ends
    ends = point.kind == "SIGTERM" and error is None and run.trainer.global_step == STEPS
    if not ends and type(error) is not ERRORS[point.kind] and not isinstance(error, ERRORS[point.kind]):
        yield f"ended with {error!r}"
    if in_rehearsal and not run.watch.is_training:
        before = run.watch.state_before if run.trainer.global_step == 0 else None
        if before is not None and run.module_state() != before:
            yield "the weights are not those before the rehearsal"
        if before is not None and lrs != [run.module.lr]:
            yield f"learning rates {lrs} instead of {run.module.lr}"
    elif run.watch.parameters and run.parameters() != expected.parameters[run.trainer.global_step]:
        yield f"the weights are not those after {run.trainer.global_step} steps"


def _wrong_resume(run: Run, make: Callable[[], Sequence[Callback]], expected: Reference) -> Iterator[str]:
    """From the last checkpoint."""
    paths = sorted(run.folder.iterdir())
    if not paths:
        return
    resumed = Run(make(), run.folder.parent / "resumed")
    if (error := resumed.fit(paths[-1])) is not None:
        yield f"resumed from {paths[-1].name}: {error!r}"
        return
    weights, lrs = resumed.result
    if weights != expected.result[0] or not lrs.items() <= expected.result[1].items():
        yield f"resumed from {paths[-1].name}: {lrs} instead of {expected.result[1]}"


def _wrong_reuse(
    run: Run, callbacks: Sequence[Callback], fault: Fault, expected: Reference, folder: Path
) -> Iterator[str]:
    run.fresh_module()
    if (error := run.fit()) is not None:
        yield f"another fit of the same Trainer: {error!r}"
    again = Run(callbacks, folder / "again")
    if (error := again.fit()) is not None:
        yield f"another fit of the same callbacks: {error!r}"
    elif again.result != expected.result:
        yield f"another fit of the same callbacks: {again.result[1]} instead of {expected.result[1]}"
