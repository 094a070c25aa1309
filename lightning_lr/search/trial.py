"""`Trial` and `Outcome`: one training of a search, before and after it was run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lightning_lr.search.verdicts import End


@dataclass(frozen=True)
class Trial:
    """One training to be run, from the state that all trials start from.

    Attributes:
        lr: its learning rate, the same at each step.
        rung: the rung that it belongs to, from 0.
        steps: optimizer steps, counted from the common state.
    """

    lr: float
    rung: int
    steps: int


@dataclass(frozen=True)
class Outcome:
    """What became of a trial.

    Attributes:
        trial: the trial.
        values: what was recorded, from the common state on.
        score: the mean of the last third of them, negated with ``mode="max"``; infinite if it diverged.
        end: whether it ran all its steps, diverged, or was dropped because it could not catch up.
        error: the exception that ended it as diverged, as text; None if there was none.
    """

    trial: Trial
    values: tuple[float, ...]
    score: float
    end: End
    error: str | None = None

    @property
    def lr(self) -> float:
        """The learning rate of the trial."""
        return self.trial.lr

    def plain(self, spent: int) -> dict[str, Any]:
        """What a checkpoint keeps, with the optimizer steps that were spent."""
        told: dict[str, Any] = {"lr": self.lr, "values": list(self.values), "spent": spent}
        return told if self.error is None else {**told, "error": self.error}


def quoted_error(outcomes: Iterable[Outcome]) -> str:
    """The first exception by which a trial ended, as a sentence; empty if there was none."""
    error = next((outcome.error for outcome in outcomes if outcome.error is not None), None)
    return "" if error is None else f" The first exception was {error}."
