"""Rows of results, written to a file as soon as they are known."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning
import torch


class Record:
    """Rows of numbers, in a JSON file that is written anew after each row, so that an interruption loses little.

    Args:
        path: of the file.
        minutes: after which no further part begins.
        only: how the names of the parts begin that are run; all parts if it is empty.
    """

    def __init__(self, path: Path, minutes: float, only: Sequence[str] = ()) -> None:
        self._path, self._start, self._minutes, self._only = path, time.monotonic(), minutes, only
        self._rows: list[dict[str, Any]] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        has_gpu = torch.cuda.is_available()
        self._machine = {
            "device": torch.cuda.get_device_name() if has_gpu else platform.processor() or platform.machine(),
            "torch": torch.__version__,
            "lightning": lightning.__version__,
            "python": platform.python_version(),
        }

    def add(self, part: str, **values: Any) -> None:
        """Write and print a row."""
        self._rows.append({"part": part, **values, "at_second": round(time.monotonic() - self._start, 1)})
        aside = self._path.with_suffix(".tmp")
        aside.write_text(json.dumps({"machine": self._machine, "rows": self._rows}, indent=1))
        aside.replace(self._path)
        print(part, "|", ", ".join(f"{key} {_text(value)}" for key, value in values.items()), flush=True)

    def run(self, part: str, measure: Callable[[], None]) -> None:
        """Run a part. If it fails, its row says why, and the next part can run. Beyond the time it is left out."""
        if self._only and not part.startswith(tuple(self._only)):
            return
        if time.monotonic() - self._start > 60 * self._minutes:
            self.add(part, left_out=f"{self._minutes:g} minutes are over")
            return
        try:
            measure()
        except Exception as error:  # of any kind: the time on a GPU is too short to lose the other parts
            self.add(part, failed=f"{type(error).__name__}: {error}"[:2000])

    def has_failures(self) -> bool:
        return any("failed" in row for row in self._rows)


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
