"""The rules for the constructor arguments of each callback, see `lightning_lr.arguments`.

What arguments must be to each other, such as ``min_lr < max_lr``, the constructors check themselves.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from lightning_lr.adaptation.rules import RuleName
from lightning_lr.arguments import (
    MAX_SPACING,
    ArgumentRule,
    choice,
    flag,
    key,
    learning_rate,
    list_of,
    number,
    optional,
    refuse,
    whole,
)
from lightning_lr.callbacks._saved_arguments import importable
from lightning_lr.range_test.rules import RULES
from lightning_lr.range_test.sweep_lrs import MAX_SWEEP_STEPS, MODES, rising_lrs
from lightning_lr.schedules.amplitude import Mode, ScaleMode
from lightning_lr.schedules.bounds import bound
from lightning_lr.schedules.cyclical import MAX_CYCLE_MULT
from lightning_lr.schedules.durations import length, length_or_0
from lightning_lr.schedules.inverse_range import inverse_range
from lightning_lr.schedules.waves import Wave
from lightning_lr.search.bracket import MAX_BUDGET

_sweep_modes = choice(MODES)
MAX_PREVIEW_STEPS = 10**8  # whose values are kept in memory


def sweep_mode(name: str, value: Any) -> Any:
    """How the learning rate rises. Elsewhere in Lightning ``mode`` says whether less or more of a metric is better."""
    if isinstance(value, str) and value in ("min", "max"):
        raise ValueError(f"{name} must be one of {', '.join(MODES)}, got {value!r}: give it as monitor_mode.")
    return _sweep_modes(name, value)


def limit_batches(name: str, value: Any) -> float:
    """An int is a number of batches, a float a share of an epoch."""
    plain: float = number()(name, value)
    if not (0 < plain <= 1 if isinstance(plain, float) else plain >= 1):
        rule = "be a number of batches of at least 1, or a share of an epoch above 0.0 and at most 1.0"
        raise refuse(name, rule, value)
    return plain


def folder(name: str, value: Any) -> str | Path:
    """The path of a folder to write to, as it is given: checkpoints compare it."""
    if not isinstance(value, (str, Path)) or value == "":
        raise refuse(name, "be the path of a folder", value)
    try:
        is_file = Path(value).is_file()
    except OSError:  # longer than a path may be
        raise refuse(name, "be the path of a folder that can be written to", value) from None
    if is_file:
        raise refuse(name, "be a folder, which is created if it is missing", value)
    return value


def word_or(word: str, rule: ArgumentRule) -> ArgumentRule:
    """One word, or what a rule says."""

    def check(name: str, value: Any) -> Any:
        if isinstance(value, str) and value == word:
            return value
        try:
            return rule(name, value)
        except ValueError as error:
            raise ValueError(str(error).replace(" must be ", f" must be {word!r} or ", 1)) from None

    return check


FINDER: dict[str, ArgumentRule] = {
    "min_lr": learning_rate,
    "max_lr": learning_rate,
    "monitor": optional(key),
    "monitor_mode": choice(("min", "max")),
    "eval_batches": whole(at_least=1),
    "apply": flag,
    "output_dir": optional(folder),
    "snapshot": choice(("device", "cpu")),
}
RANGE_TEST: dict[str, ArgumentRule] = {
    **FINDER,
    "num_steps": whole(at_least=1, at_most=MAX_SWEEP_STEPS),
    "mode": sweep_mode,
    "steps_per_lr": whole(at_least=1),
    "lrs": optional(rising_lrs),
    "rule": choice(RULES),
    "at_epochs": list_of(whole(at_least=0), "a list of at least one epoch, counted from 0"),
    "verify": flag,
}
SEARCH: dict[str, ArgumentRule] = {
    **FINDER,
    "budget": optional(whole(at_least=1, at_most=MAX_BUDGET)),
    "steps_per_eval": whole(at_least=1, at_most=MAX_SPACING),
    "limit_batches": limit_batches,
}
SCHEDULE: dict[str, ArgumentRule] = {
    "max_lr": optional(bound),
    "optimizer": optional(whole(at_least=0)),
    "replace_scheduler": flag,
}
PREVIEW: dict[str, ArgumentRule] = {
    "steps": whole(at_least=1, at_most=MAX_PREVIEW_STEPS),
    "steps_per_epoch": optional(whole(at_least=1)),
}
INVERSE: dict[str, ArgumentRule] = {
    "momentum": optional(inverse_range(below=1)),
    "weight_decay": optional(inverse_range()),
}
CYCLES: dict[str, ArgumentRule] = {
    **SCHEDULE,
    **INVERSE,
    "base_lr": optional(bound),
    "step_size": length_or_0,
    "step_size_down": optional(length),
    "mode": choice(get_args(Mode)),
    "gamma": optional(number(above=0, at_most=1)),
    "decay": optional(number(above=0, at_most=1)),
    "scale_fn": optional(importable),
    "scale_mode": choice(get_args(ScaleMode)),
    "wave": choice(get_args(Wave)),
    "cycle_mult": number(above=0, at_most=MAX_CYCLE_MULT),
    "num_cycles": optional(whole(at_least=1)),
    "fit_cycles": flag,
    "warmup": optional(length),
    "snapshot_cycles": flag,
    "log_position": flag,
}
ONE_CYCLE: dict[str, ArgumentRule] = {
    **SCHEDULE,
    **INVERSE,
    "total_steps": length,
    "pct_start": number(above=0, below=1),
    "three_phase": flag,
    "div_factor": number(at_least=1),
    "final_div_factor": number(at_least=1),
    "wave": choice(get_args(Wave)),
}
WARMUP_STABLE_DECAY: dict[str, ArgumentRule] = {
    **SCHEDULE,
    "warmup": optional(length),
    "decay": length,
    "total_steps": optional(length),
}
ADAPTATION: dict[str, ArgumentRule] = {
    "rule": choice(get_args(RuleName)),
    "beta": optional(number(above=0)),
    "horizon": optional(length),
    "per_group": flag,
    "every": word_or("auto", whole(at_least=1, at_most=MAX_SPACING)),
    "adapt": flag,
    "guard": flag,
    "save_anchor": flag,
    "min_lr": optional(learning_rate),
    "max_lr": optional(learning_rate),
    "freeze_after": optional(length),
    "decay": optional(word_or("auto", length)),
}
