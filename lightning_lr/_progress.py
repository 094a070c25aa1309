"""A line of progress in the style of the user's own progress bar."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ProgressBar, RichProgressBar, TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm


class Progress(Protocol):
    """What is shown: ``LR range test 57/200 lr=1.2e-03 loss=0.481``."""

    def update(self, text: str) -> None:
        """One step further, with this text behind the count."""


class _Silent:
    def update(self, text: str) -> None:
        pass


class _TQDM:
    def __init__(self, bar: TQDMProgressBar, total: int, description: str) -> None:
        # a postfix of plain text: tqdm would put a comma before its own
        self.bar = Tqdm(
            total=total,
            desc=description,
            position=2 * bar.process_position,
            leave=False,
            dynamic_ncols=True,
            file=sys.stdout,
            bar_format="{desc} {n_fmt}/{total_fmt} {postfix} |{bar}| {elapsed}",
        )
        self._every = max(1, bar.refresh_rate)

    def update(self, text: str) -> None:
        self.bar.n += 1
        if self.bar.n % self._every == 0 or self.bar.n == self.bar.total:
            self.bar.postfix = text
            self.bar.refresh()


class _Rich:
    def __init__(self, progress: Any, total: int, description: str) -> None:
        self._progress, self._total, self._description = progress, total, description
        self.task = progress.add_task(f"{description} 0/{total}", total=total, metrics={})
        self._count = 0

    def update(self, text: str) -> None:
        self._count += 1
        described = f"{self._description} {self._count}/{self._total} {text}"
        self._progress.update(self.task, advance=1, description=described)


@contextmanager
def progress(trainer: Trainer, total: int, description: str) -> Iterator[Progress]:
    """Show ``total`` steps where the user's progress bar would be, and take the line away in the end.

    Silent without a progress bar, with one that is disabled, and on ranks other than 0.
    """
    bar = next((c for c in vars(trainer)["callbacks"] if isinstance(c, ProgressBar)), None)
    if bar is None or not trainer.is_global_zero or not getattr(bar, "is_enabled", True):
        yield _Silent()
    elif isinstance(bar, TQDMProgressBar):
        line = _TQDM(bar, total, description)
        try:
            yield line
        finally:
            line.bar.close()
    elif isinstance(bar, RichProgressBar):
        with _rich_display(bar) as display:
            task = _Rich(display, total, description)
            try:
                yield task
            finally:
                display.remove_task(task.task)
    else:  # of the user's own making: nothing is known about it
        yield _Silent()


@contextmanager
def _rich_display(bar: RichProgressBar) -> Iterator[Any]:
    """The bar's own display where it is shown already, since there can only be one; else one that looks alike."""
    if bar.progress is not None and bar.progress.live.is_started:
        yield bar.progress
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    with Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), transient=True) as display:
        yield display
