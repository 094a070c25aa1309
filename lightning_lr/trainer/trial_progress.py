"""What a search shows of the trial that runs."""

from __future__ import annotations

import math

from lightning_lr.search.trial import Trial
from lightning_lr.trainer.progress_bar import ProgressLine
from lightning_lr.trainer.time_left import TimeLeft


class TrialProgress:
    """Shows a trial while it runs: its step, its latest value, and the time left for all trials that are planned.

    Args:
        line: counts the trials.
        clock: of the search.
        trial: the trial.
        every: optimizer steps between two values.
        waiting: optimizer steps of the trials after it.
        name: of the values.
    """

    def __init__(self, line: ProgressLine, clock: TimeLeft, trial: Trial, every: int, waiting: int, name: str) -> None:
        self._line, self._clock, self._trial = line, clock, trial
        self._every, self._waiting, self._name = every, waiting, name
        self._ran = 0

    def begin(self, ran: int) -> None:
        """The trial begins, perhaps once more, after the steps that a shorter one has run."""
        self._ran = ran

    def point(self, lr: float, value: float) -> None:
        """A value was recorded."""
        self._ran += self._every
        self._clock.add(self._every)

        def text() -> str:
            steps = self._trial.steps
            left = self._clock.text(steps - self._ran + self._waiting)
            latest = f" {self._name}={value:.3g}" if math.isfinite(value) else ""
            return f"lr={lr:.1e} step {self._ran}/{steps}{latest}, {left}"

        self._line.update(text, advance=0)

    def end(self) -> None:
        """The trial is over."""
        self._line.update(lambda: f"lr={self._trial.lr:.1e}")
