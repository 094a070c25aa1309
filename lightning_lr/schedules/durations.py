"""Lengths of time in optimizer steps: ``500``, ``"500"``, ``"2ep"``, ``"0.25run"``."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

_PATTERN = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ep|run|)")


@dataclass(frozen=True)
class Duration:
    """A length of time that is known in steps once the length of an epoch or of the run is.

    Attributes:
        value: above 0.
        unit: ``""`` for optimizer steps, ``"ep"`` for epochs, ``"run"`` for the share of all steps.
    """

    value: float
    unit: Literal["", "ep", "run"]

    @classmethod
    def parse(cls, name: str, text: int | str) -> Duration:
        """Read a duration.

        >>> Duration.parse("step_size", "2ep")
        Duration(value=2.0, unit='ep')

        Args:
            name: the argument that holds it, for the error message.
            text: as above.

        Raises:
            ValueError: if it is none of these forms, not above 0, or a part of a step.
        """
        match = _PATTERN.fullmatch(str(text).strip())
        rule = 'must be a number of steps above 0, epochs ("2ep") or a share of the run ("0.25run")'
        if isinstance(text, bool) or match is None:
            raise ValueError(f"{name} {rule}, got {text!r}.")
        value, unit = float(match[1]), match[2]
        if value <= 0 or (unit == "" and value != int(value)) or (unit == "run" and value > 1):
            raise ValueError(f"{name} {rule}, got {text!r}.")
        return cls(value, unit)  # type: ignore[arg-type]  # one of the three by the pattern

    def steps(self, name: str, steps_per_epoch: float, steps_per_run: float) -> int:
        """The duration in optimizer steps, rounded, at least 1.

        >>> Duration.parse("step_size", "0.5ep").steps("step_size", 25, math.inf)
        12

        Args:
            name: the argument that holds it, for the error message.
            steps_per_epoch: optimizer steps of an epoch, infinite if that is not known.
            steps_per_run: optimizer steps of the whole run, infinite if that is not known.

        Raises:
            ValueError: if the length that the unit refers to is not known.
        """
        length = {"": 1.0, "ep": steps_per_epoch, "run": steps_per_run}[self.unit]
        if not math.isfinite(length):
            what = "an epoch (the data has none, or accumulation changes)" if self.unit == "ep" else "the run"
            raise ValueError(
                f"{name}={self.value:g}{self.unit} needs the length of {what}, which is not known: give it in steps."
            )
        return max(1, round(self.value * length))
