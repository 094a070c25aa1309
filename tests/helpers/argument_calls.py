"""The arguments of what `lightning_lr` exports, with their kinds."""

from __future__ import annotations

import numpy as np

import lightning_lr
from tests.helpers.argument_values import Call, kinds
from tests.helpers.tiny_models import Classifier, quiet_trainer

_LRS = np.geomspace(1e-4, 1.0, 12)
_CURVE = lightning_lr.LRCurve(_LRS, 1 + (np.log10(_LRS) + 2) ** 2)
_SCHEDULE = kinds("""
            optimizer: whole from 0?, replace_scheduler: flag
        """)
_FINDER = kinds("""
            min_lr: rate, max_lr: rate, monitor: key?, monitor_mode: choice, eval_batches: whole from 1,
            apply: flag, output_dir: folder?, snapshot: choice
        """)
_PREVIEW = kinds("""
            steps: whole from 1, steps_per_epoch: whole from 1?
        """)
_DATA = {"train_dataloaders": "anything", "val_dataloaders": "anything", "datamodule": "anything"}
_TRAINING = {"trainer": "object", "model": "object", **_DATA}


def cycles() -> lightning_lr.CyclicalLR:
    return lightning_lr.CyclicalLR(0.1, 0.2, 5)


CALLS = {
    "LRRangeTest": Call(
        lightning_lr.LRRangeTest,
        _FINDER
        | kinds("""
            num_steps: whole from 1, mode: choice, steps_per_lr: whole from 1, lrs: rising?, rule: choice,
            at_epochs: epochs, verify: flag
        """),
        {"min_lr": 1e-3, "max_lr": 5.0},
    ),
    "LRSearch": Call(
        lightning_lr.LRSearch,
        _FINDER | kinds("budget: whole from 1?, steps_per_eval: whole from 1, limit_batches: batches"),
        {"min_lr": 1e-3, "max_lr": 5.0},
    ),
    "CyclicalLR": Call(
        lightning_lr.CyclicalLR,
        _SCHEDULE
        | kinds("""
            base_lr: bound?, max_lr: bound?, step_size: length, step_size_down: length?, mode: choice,
            gamma: at most 1?, decay: at most 1?, scale_fn: scale?, scale_mode: choice, wave: choice,
            cycle_mult: rate, num_cycles: whole from 1?, fit_cycles: flag, warmup: length?,
            momentum: two numbers below 1?, weight_decay: two numbers?, snapshot_cycles: flag,
            log_position: flag
        """),
        {"base_lr": 0.0, "max_lr": 9.0},
    ),
    "CyclicalLR.preview": Call(cycles().preview, _PREVIEW, {"steps": 5}),
    "CyclicalLR.set_bounds": Call(
        cycles().set_bounds, kinds("base_lr: bound, max_lr: bound"), {"base_lr": 0.0, "max_lr": 9.0}
    ),
    "CyclicalLR.set_bounds_from": Call(cycles().set_bounds_from, {"suggestion": "object"}),
    "CyclicalLR.drives_optimizer": Call(cycles().drives_optimizer, {"index": "whole from 0"}),
    "OneCycleLR": Call(
        lightning_lr.OneCycleLR,
        _SCHEDULE
        | kinds("""
            max_lr: bound?, total_steps: length, pct_start: below 1, three_phase: flag, div_factor: from 1,
            final_div_factor: from 1, wave: choice, momentum: two numbers below 1?, weight_decay: two numbers?
        """),
    ),
    "OneCycleLR.preview": Call(lightning_lr.OneCycleLR(0.1).preview, _PREVIEW, {"steps": 5}),
    "OneCycleLR.set_max_lr": Call(lightning_lr.OneCycleLR(0.1).set_max_lr, {"max_lr": "bound"}),
    "OneCycleLR.set_bounds_from": Call(lightning_lr.OneCycleLR().set_bounds_from, {"suggestion": "object"}),
    "OneCycleLR.drives_optimizer": Call(lightning_lr.OneCycleLR().drives_optimizer, {"index": "whole from 0"}),
    "WarmupStableDecayLR": Call(
        lightning_lr.WarmupStableDecayLR,
        _SCHEDULE | kinds("max_lr: bound?, warmup: length?, decay: length, total_steps: length?"),
    ),
    "WarmupStableDecayLR.preview": Call(lightning_lr.WarmupStableDecayLR(0.1).preview, _PREVIEW, {"steps": 5}),
    "WarmupStableDecayLR.set_max_lr": Call(lightning_lr.WarmupStableDecayLR().set_max_lr, {"max_lr": "bound"}),
    "WarmupStableDecayLR.set_bounds_from": Call(
        lightning_lr.WarmupStableDecayLR().set_bounds_from, {"suggestion": "object"}
    ),
    "WarmupStableDecayLR.drives_optimizer": Call(
        lightning_lr.WarmupStableDecayLR().drives_optimizer, {"index": "whole from 0"}
    ),
    "HypergradientLR": Call(
        lightning_lr.HypergradientLR,
        kinds("""
            rule: choice, beta: below 1?, horizon: length?, per_group: flag, every: whole from 1, adapt: flag,
            guard: flag, save_anchor: flag, min_lr: rate?, max_lr: rate?, freeze_after: length?,
            decay: auto or length?
        """),
    ),
    "HypergradientLR.restart": Call(lightning_lr.HypergradientLR().restart, {"optimizer": "object"}),
    "LRCurve": Call(
        lightning_lr.LRCurve,
        kinds("lrs: numbers, losses: numbers, monitor: key, mode: choice"),
        {"lrs": _LRS, "losses": _LRS},
    ),
    "LRCurve.from_csv": Call(
        lightning_lr.LRCurve.from_csv, kinds("path: folder, mode: choice"), {"path": "missing.csv"}
    ),
    "LRCurve.from_json": Call(lightning_lr.LRCurve.from_json, {"path": "folder"}),
    "LRCurve.from_dict": Call(lightning_lr.LRCurve.from_dict, {"plain": "object"}),
    "LRCurve.to_csv": Call(_CURVE.to_csv, {"path": "folder"}),
    "LRCurve.to_json": Call(_CURVE.to_json, {"path": "folder"}),
    "suggest": Call(
        lightning_lr.suggest,
        kinds("curve: object, rule: choice, update: choice, steps_per_point: whole from 1"),
        {"curve": _CURVE},
    ),
    "ensemble": Call(
        lightning_lr.ensemble,
        kinds("checkpoints: paths, model_class: object, average: flag, activation: function?, loader: loader?"),
        {"checkpoints": ["missing.ckpt"], "model_class": Classifier},
    ),
    "lr_range_test": Call(lightning_lr.lr_range_test, _TRAINING, {"trainer": quiet_trainer(), "model": Classifier()}),
    "lr_search": Call(lightning_lr.lr_search, _TRAINING, {"trainer": quiet_trainer(), "model": Classifier()}),
}
