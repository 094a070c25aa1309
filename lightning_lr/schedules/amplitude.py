"""The amplitude of cycles: the factor S of each cycle or step, by a mode or by a function."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

from lightning_lr.arguments import number

Mode = Literal["triangular", "triangular2", "exp_range"]
ScaleMode = Literal["cycle", "iterations"]


def scale_of_mode(mode: Mode, gamma: float, cycle: int, step: float) -> float:
    """S of a mode: 1 (triangular), ``gamma^(c-1)`` (triangular2), ``gamma^t`` (exp_range).

    Args:
        mode: which formula.
        gamma: as above.
        cycle: c, from 1.
        step: t, finished steps since the warm-up.
    """
    if mode == "triangular2":
        return gamma ** (cycle - 1)
    return gamma**step if mode == "exp_range" else 1.0


def scale_of_function(scale_fn: Callable[[float], float], scale_mode: ScaleMode, cycle: int, step: float) -> float:
    """S of a user's function of the cycle or of the finished steps, which are as in `scale_of_mode`.

    Raises:
        ValueError: if it is not a finite number of at least 0.
    """
    scale = float(scale_fn(cycle if scale_mode == "cycle" else step))
    if not 0 <= scale < math.inf:
        raise ValueError(f"scale_fn must give a finite number of at least 0, got {scale} at {cycle=}, {step=}.")
    return scale


def check_scale(scale_fn: Callable[[float], float], scale_mode: ScaleMode) -> None:
    """Raise a ValueError if ``scale_fn`` gives no number for the first cycle or step."""
    argument = 1 if scale_mode == "cycle" else 0
    try:
        number(at_least=0)("scale_fn", float(scale_fn(argument)))
    except Exception as error:
        what = f"{type(error).__name__}: {' '.join(str(error).split()).rstrip('.')}"
        raise ValueError(f"scale_fn must give a finite number of at least 0, got {what}, for {argument}.") from error


def check_amplitude(
    mode: Mode, gamma: float | None, decay: float | None, scale_fn: Callable[[float], float] | str | None
) -> None:
    """Raise a ValueError if arguments that change the amplitude from cycle to cycle contradict each other."""
    if mode == "exp_range" and (gamma is None) == (decay is None):
        raise ValueError(f"mode='exp_range' needs one of gamma and decay, got {gamma=}, {decay=}.")
    if decay is not None and mode != "exp_range":
        raise ValueError(f"decay is for exp_range, got {decay=} with {mode=}.")
    if gamma is not None and mode == "triangular":
        raise ValueError(f"gamma is for exp_range and triangular2, got {gamma=} with {mode=}.")
    if scale_fn is not None and mode != "triangular":
        raise ValueError(f"scale_fn takes the place of mode: leave mode out, got {mode=}.")
