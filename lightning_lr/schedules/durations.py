"""Lengths of time in optimizer steps: ``500``, ``"500"``, ``"2ep"``, ``"0.25run"``."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal

from lightning_lr.arguments import refuse

_MAX_VALUE = 10**12  # no run is as long; the product with the length of an epoch must not overflow
_PATTERN = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ep|run|)")


def length(name: str, value: Any) -> int | str:
    """The rule for lengths of time, see `lightning_lr.arguments`."""
    Duration.parse(name, value)
    return value if isinstance(value, str) else int(value)


def length_or_0(name: str, value: Any) -> int | str:
    """The same, with 0 steps as well."""
    is_length = isinstance(value, (str, Real)) and not isinstance(value, bool)
    return 0 if is_length and str(value).strip() in ("0", "0.0") else length(name, value)


@dataclass(frozen=True)
class Duration:
    """A length of time in one of three units. `steps` converts it to optimizer steps.

    Attributes:
        value: above 0; at most 1 for ``"run"``.
        unit: ``""`` for optimizer steps, ``"ep"`` for epochs, ``"run"`` for the fraction of the whole run.
    """

    value: float
    unit: Literal["", "ep", "run"]

    @classmethod
    def parse(cls, name: str, text: int | str) -> Duration:
        """The duration that a user gives.

        >>> Duration.parse("step_size", "2ep")
        Duration(value=2.0, unit='ep')

        Args:
            name: of the argument, for the error message.
            text: in one of the forms at the top of this module.

        Raises:
            ValueError: if it has none of these forms, is not above 0, is not a whole number of steps, or is more than
                the run.
        """
        is_length = isinstance(text, (str, Real)) and not isinstance(text, bool)
        match = _PATTERN.fullmatch(str(text).strip()) if is_length else None
        value, unit = (float(match[1]), match[2]) if match else (0.0, "")
        if not 0 < value <= _MAX_VALUE or (unit == "" and value % 1 != 0) or (unit == "run" and value > 1):
            rule = 'be a whole number of steps above 0, epochs ("2ep") or a share of the run up to 1 ("0.25run")'
            raise refuse(name, rule, text)
        return cls(value, unit)  # type: ignore[arg-type]  # one of the three by the pattern

    def steps(self, name: str, steps_per_epoch: float, steps_per_run: float) -> int:
        """The duration in optimizer steps, rounded, at least 1.

        >>> Duration.parse("step_size", "0.5ep").steps("step_size", 25, math.inf)
        12

        Args:
            name: of the argument, for the error message.
            steps_per_epoch: optimizer steps of an epoch, infinite if not known.
            steps_per_run: optimizer steps of the whole run, infinite if not known.

        Raises:
            ValueError: if the length of the epoch or of the run is needed and not known.
        """
        length = {"": 1.0, "ep": steps_per_epoch, "run": steps_per_run}[self.unit]
        if not math.isfinite(length):
            what = "an epoch (the data has none, or accumulation changes)" if self.unit == "ep" else "the run"
            raise ValueError(
                f"{name}={self.value:g}{self.unit} needs the length of {what}, which is not known: give it in steps."
            )
        return max(1, round(self.value * length))
