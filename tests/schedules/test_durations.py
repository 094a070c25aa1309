"""Durations in steps, epochs and shares of the run."""

from __future__ import annotations

import math

import pytest

from lightning_lr.schedules.durations import Duration


@pytest.mark.parametrize(
    ("text", "steps"),
    [(7, 7), ("7", 7), ("2ep", 50), ("0.5ep", 12), (".1ep", 2), ("0.25run", 100), ("1run", 400), ("0.001run", 1)],
)
def test_steps(text: int | str, steps: int) -> None:
    assert Duration.parse("step_size", text).steps("step_size", 25, 400) == steps


@pytest.mark.parametrize(
    "text", [0, -1, True, "0", "2epp", "ep", "2 ep x", "1.5", "1e3", "nan", "0ep", "1.5run", "", "-2ep"]
)
def test_what_is_refused(text: int | str) -> None:
    with pytest.raises(ValueError, match=r"step_size must be .*, got") as error:
        Duration.parse("step_size", text)
    assert repr(text) in str(error.value)


@pytest.mark.parametrize(("text", "what"), [("2ep", "an epoch"), ("0.5run", "the run")])
def test_unknown_lengths(text: str, what: str) -> None:
    with pytest.raises(ValueError, match=f"step_size={text} needs the length of {what}"):
        Duration.parse("step_size", text).steps("step_size", math.inf, math.inf)
