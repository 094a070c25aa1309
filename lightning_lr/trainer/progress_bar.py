"""A line of progress in the style of the user's own progress bar."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm
from lightning_utilities.core import rank_zero

from lightning_lr.trainer.lightning_packages import either

_PROGRESS_BARS = either("callbacks.ProgressBar")
_TQDM_BARS = either("callbacks.TQDMProgressBar")
_RICH_BARS = either("callbacks.RichProgressBar")


def is_verbose(trainer: Trainer) -> bool:
    """Whether to print more than a line: there is an enabled progress bar, and Lightning logs what it does.

    So ``enable_progress_bar=False`` and the level of Lightning's logger each silence it.
    """
    bar: Any = trainer.progress_bar_callback
    return bar is not None and bar.is_enabled and rank_zero.log.isEnabledFor(logging.INFO)


class ProgressLine(Protocol):
    """A line such as ``LR range test 57/200 lr=1.2e-03 loss=0.481``.

    Attributes:
        total: the number of steps, which may change.
    """

    total: int

    def update(self, text: Callable[[], str], advance: int = 1) -> None:
        """Add ``advance`` to the count, and show ``text`` after it. It is only asked for when it is drawn."""


class _NoLine:
    total = 0

    def update(self, text: Callable[[], str], advance: int = 1) -> None:
        pass

    def close(self) -> None:
        pass


class _TQDMLine:
    def __init__(self, bar: Any, total: int, description: str) -> None:
        self._line = Tqdm(
            total=total,
            desc=description,
            position=2 * bar.process_position,
            leave=False,
            dynamic_ncols=True,
            file=sys.stdout,
            bar_format="{desc} |{bar}| {elapsed}",
        )
        self.total, self._description, self._refresh_rate = total, description, max(1, bar.refresh_rate)
        self._updates = 0

    def update(self, text: Callable[[], str], advance: int = 1) -> None:
        self._line.n += advance
        self._line.total = self.total
        self._updates += 1
        if self._updates % self._refresh_rate == 0 or self._line.n == self.total:
            self._line.set_description_str(f"{self._description} {self._line.n}/{self.total} {text()}")

    def close(self) -> None:
        self._line.close()


class _RichLine:
    def __init__(self, bar: Any, total: int, description: str) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        # The user's display is paused: while it draws, it looks for its callback in the Trainer, which a rehearsal has
        # removed.
        is_shown = bar.progress is not None and bar.progress.live.is_started
        self._paused = bar.progress if is_shown else None
        if self._paused is not None:
            self._paused.stop()
        self._display = Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), transient=True)
        self._task = self._display.add_task(description, total=total)
        self._count, self.total, self._description = 0, total, description
        self._display.start()

    def update(self, text: Callable[[], str], advance: int = 1) -> None:
        self._count += advance
        described = f"{self._description} {self._count}/{self.total} {text()}"
        self._display.update(self._task, completed=self._count, total=self.total, description=described)

    def close(self) -> None:
        self._display.refresh()  # shows the last updates too, if they came faster than the display is drawn
        self._display.stop()
        if self._paused is not None:
            self._paused.start()


@contextmanager
def progress_line(trainer: Trainer, total: int, description: str) -> Iterator[ProgressLine]:
    """Show ``total`` steps in the place of the user's progress bar, and remove the line at the end.

    Nothing is shown without a progress bar, with a disabled one, with one of another class than Lightning's two, and on
    ranks other than 0.
    """
    bar: Any = next((c for c in vars(trainer)["callbacks"] if isinstance(c, _PROGRESS_BARS)), None)
    line: _NoLine | _TQDMLine | _RichLine = _NoLine()
    if trainer.is_global_zero and isinstance(bar, _TQDM_BARS + _RICH_BARS) and bar.is_enabled:
        line = (_TQDMLine if isinstance(bar, _TQDM_BARS) else _RichLine)(bar, total, description)
    try:
        yield line
    finally:
        line.close()
