"""How long the steps that are left will take, judged by those so far."""

from __future__ import annotations

import time


class TimeLeft:
    """Measures the time from now on."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._steps = 0

    def add(self, steps: int) -> None:
        """Count steps that were made."""
        self._steps += steps

    def text(self, left: int) -> str:
        """The time for ``left`` further steps, such as ``"1:05 left"``."""
        seconds = round((time.monotonic() - self._start) * left / self._steps)
        minutes, seconds = divmod(seconds, 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{seconds:02} left" if hours else f"{minutes}:{seconds:02} left"
