"""The arguments of what the packages of `lightning_lr` export, with their kinds, and what checks none."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

import lightning_lr
from lightning_lr import adaptation, range_test, schedules, search
from tests.helpers.argument_values import Call, kinds

_LRS = np.geomspace(1e-4, 1.0, 12)
_CURVE = lightning_lr.LRCurve(_LRS, 1 + (np.log10(_LRS) + 2) ** 2)
_SUGGESTION = lightning_lr.suggest(_CURVE)


def bracket() -> search.Bracket:
    return search.Bracket(1e-3, 1.0)


@functools.wraps(search.Bracket.tell)
def tell(**kwargs: Any) -> None:
    """Tell a bracket that was told nothing."""
    bracket().tell(**kwargs)


def done_bracket() -> search.Bracket:
    done = search.Bracket(1e-2, 1.0)
    while trials := done.ask():
        for trial in trials:
            done.tell(trial, [1 + (math.log10(trial.lr) + 1) ** 2] * trial.steps)
    return done


DONE = done_bracket()
_TRIAL = bracket().ask()[0]


def cycles() -> lightning_lr.CyclicalLR:
    return lightning_lr.CyclicalLR(0.1, 0.2, 5)


CALLS = {
    "adaptation.FinalDecay": Call(
        adaptation.FinalDecay,
        kinds("length: whole from 1, run_length: whole from 1"),
        {"length": 2, "run_length": 9},
    ),
    "adaptation.LongHorizon": Call(
        adaptation.LongHorizon,
        kinds("""
            sign_changes: whole from 0, count: whole from 0, mean: number,
            mean_square: from 0, mean_square_norm: from 0, has_overshot: flag
        """),
    ),
    "adaptation.Multiplicative": Call(
        adaptation.Multiplicative,
        kinds("beta: below 1, sign_changes: whole from 0, last_value: any number"),
        {"beta": 0.1},
    ),
    "adaptation.Additive": Call(
        adaptation.Additive,
        kinds("beta: positive, sign_changes: whole from 0, last_value: any number"),
        {"beta": 0.1},
    ),
    "range_test.has_diverged": Call(
        range_test.has_diverged, kinds("lrs: numbers, losses: flat numbers"), {"lrs": _LRS, "losses": [1.0]}
    ),
    "range_test.range_test_figure": Call(
        range_test.range_test_figure,
        kinds("curve: object, chosen: object, lrs: mapping, rule: choice"),
        {"curve": _CURVE, "chosen": _SUGGESTION, "lrs": {}, "rule": "dual"},
    ),
    "range_test.smooth": Call(range_test.smooth, kinds("values: numbers, sigma_share: share"), {"values": _LRS}),
    "range_test.sweep_lrs": Call(
        range_test.sweep_lrs,
        kinds("min_lr: rate, max_lr: rate, num_steps: whole from 1, mode: choice"),
        {"min_lr": 1e-3, "max_lr": 5.0, "num_steps": 3},
    ),
    "schedules.Cyclical": Call(
        schedules.Cyclical,
        kinds("""
            up: from 0, down: positive, mode: choice, gamma: at most 1, wave: choice, cycle_mult: rate,
            num_cycles: whole from 1?, warmup: whole from 0, scale_fn: scale or lambda?, scale_mode: choice
        """),
        {"up": 3, "down": 3},
    ),
    "schedules.OneCycle": Call(
        schedules.OneCycle,
        kinds("""
            total_steps: whole from 1, pct_start: below 1, three_phase: flag, final_div_factor: from 1,
            wave: choice
        """),
        {"total_steps": 9},
    ),
    "schedules.WarmupStableDecay": Call(
        schedules.WarmupStableDecay,
        kinds("warmup: whole from 0, decay: whole from 1, total_steps: from 1 or infinite"),
        {"warmup": 0, "decay": 1, "total_steps": 9},
    ),
    "schedules.Preview.figure": Call(
        cycles().preview(9).figure, kinds("steps_per_epoch: whole from 1?, of_max_lr: flag")
    ),
    "schedules.lr_at": Call(
        schedules.lr_at,
        kinds("schedule: object, step: steps, base_lr: rate or 0, max_lr: rate"),
        {"schedule": schedules.OneCycle(9), "step": 1, "base_lr": 0.1, "max_lr": 9.0},
    ),
    "search.Bracket": Call(
        search.Bracket,
        kinds("""
            min_lr: rate, max_lr: rate, budget: whole from 1?, every: whole from 1, mode: choice, extends: flag,
            max_steps: whole from 1?, resumes_trials: flag
        """),
        {"min_lr": 1e-3, "max_lr": 5.0},
    ),
    "search.Bracket.best_of_rung": Call(bracket().best_of_rung, {"rung": "whole from 0"}),
    "search.Bracket.may_continue": Call(bracket().may_continue, {"lr": "rate"}),
    "search.Bracket.stops": Call(
        bracket().stops, kinds("trial: object, values: flat numbers"), {"trial": _TRIAL, "values": [1.0]}
    ),
    "search.Bracket.tell": Call(
        tell,
        kinds("trial: object, values: flat numbers, spent: whole from 0?, error: text?"),
        {"trial": _TRIAL, "values": [1.0]},
    ),
    "search.Bracket.from_state": Call(search.Bracket.from_state, {"state": "object"}),
    "search.leaderboard": Call(search.leaderboard, {"bracket": "object"}),
    "search.search_result": Call(
        search.search_result, kinds("bracket: object, run_steps: from 1 or infinite, update: choice"), {"bracket": DONE}
    ),
    "search.search_figure": Call(
        search.search_figure,
        kinds("candidates: object, every: whole from 1, monitor: key, mode: choice, suggested_lr: rate?"),
        {"candidates": search.leaderboard(DONE)},
    ),
}


_RECORD = "made by the package, read by users"
_PER_STEP = "called at each training step, with what the package has computed"
UNCHECKED = {
    "RangeTestResult": _RECORD,
    "SearchResult": _RECORD,
    "Suggestion": _RECORD,
    "adaptation.Alignment": _RECORD,
    "schedules.Position": _RECORD,
    "schedules.Cyclical.without_late_restart": "called by CyclicalLR, with the lengths of a run",
    "schedules.Preview": _RECORD,
    "search.Candidate": _RECORD,
    "schedules.Schedule.at": "a protocol",
    "schedules.Schedule.resume_step": "a protocol",
    "search.Outcome": _RECORD,
    "search.Trial": _RECORD,
    "search.Outcome.plain": _RECORD,
    "adaptation.DivergenceDetector": _RECORD,
    "adaptation.DivergenceDetector.load_state": "checked with the state of the callback",
    "adaptation.Additive.update": _PER_STEP,
    "adaptation.DivergenceDetector.add_loss": _PER_STEP,
    "adaptation.DivergenceDetector.is_far_off": _PER_STEP,
    "adaptation.FinalDecay.factor": _PER_STEP,
    "adaptation.LongHorizon.update": _PER_STEP,
    "adaptation.Multiplicative.update": _PER_STEP,
    "schedules.Cyclical.at": _PER_STEP,
    "schedules.Cyclical.resume_step": _PER_STEP,
    "schedules.Cyclical.start_peak_end": _PER_STEP,
    "schedules.Cyclical.stretched_to": "called at the start of a run, with its length",
    "schedules.OneCycle.at": _PER_STEP,
    "schedules.OneCycle.resume_step": _PER_STEP,
    "schedules.Position.lr": _PER_STEP,
    "schedules.WarmupStableDecay.at": _PER_STEP,
    "schedules.WarmupStableDecay.resume_step": _PER_STEP,
    "command_line.LRCLI": "arguments of Lightning's LightningCLI",
    "command_line.LRCLI.add_core_arguments_to_parser": "called by Lightning's LightningCLI",
    "command_line.LRCLI.init_parser": "called by Lightning's LightningCLI",
    "command_line.LRCLI.lr_range_test": "called by Lightning's LightningCLI",
    "command_line.LRCLI.lr_search": "called by Lightning's LightningCLI",
}
