"""What each callback logs, and the keys of what it saves in a checkpoint, as a table of short runs.

**A change of this table is a decision.** If a logged key changes, the charts and scripts that read it stay empty. If a
saved key changes, checkpoints that were written before cannot be resumed: keep the saved key, or read both. A failing
test says which entries of the table the code no longer has, and which it has beside them. If the change is not wanted,
mend the code. If it is, edit the table by hand and say so in ``CHANGELOG.md``.
"""

from __future__ import annotations

import inspect
import signal
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_lr import (
    CyclicalLR,
    HypergradientLR,
    LRRangeTest,
    LRSearch,
    LRTrace,
    OneCycleLR,
    WarmupStableDecayLR,
)
from lightning_lr.callbacks._saved_state import STATE_VERSION
from tests.helpers.interrupted_training import STEPS, Interrupted, OnException
from tests.helpers.lightning_classes import Callback, LightningModule, seed_everything
from tests.helpers.public_interface import AllLoggers, difference, nested_keys
from tests.helpers.recorded_steps import TwoOptimizers
from tests.helpers.schedule_cases import SaveAt
from tests.helpers.tiny_models import Classifier, LogsLoss, loader, quiet_trainer

pytestmark = [
    pytest.mark.filterwarnings("ignore:LRRangeTest is not confident"),
    pytest.mark.filterwarnings("ignore:HypergradientLR. .* steps on its own loss"),
    pytest.mark.filterwarnings("ignore:.*lr_scheduler.step.*before.*optimizer.step.*"),
]


@dataclass(frozen=True)
class Run:
    """A training run, and what it logs and saves."""

    callback: Callable[[], Callback]
    logs: str  # keys of metrics, and tags of TensorBoard
    saves: str = ""  # "path: keys" or "keys" a line, beside the callback's arguments
    state_key: str = ""  # in the checkpoint; the name of the class if empty
    model: Callable[[], LightningModule] = Classifier
    interrupted_at: int = 0  # training step, those of trials included; 0: never


# What several runs log and save.
TRACE_LOGS = """
    lr/SGD, lr/loss
"""
RANGE_TEST_LOGS = """
    lr_range_test/lr, lr_range_test/loss, lr_range_test/loss_smoothed
    lr_range_test/suggested_lr, lr_range_test/base_lr, lr_range_test/max_lr
    lr_range_test/loss_vs_log10_lr_x1000 (chart in TensorBoard)
    lr_range_test/curve (figure in TensorBoard)
    lr_range_test/record (record in TensorBoard)
"""
SEARCH_LOGS = """
    lr_search/lr (not in TensorBoard)
    lr_search/score (not in TensorBoard)
    lr_search/score_vs_log10_lr_x1000 (chart in TensorBoard)
    lr_search/record (record in TensorBoard)
    lr_search/suggested_lr, lr_search/base_lr, lr_search/max_lr
    lr_search/trials (figure in TensorBoard)
    lr_search/leaderboard (text in TensorBoard)
"""
HYPERGRADIENT_LOGS = """
    lr/SGD, lr/loss
    hypergradient/alignment/SGD, hypergradient/log10_scale/SGD, hypergradient/turns/SGD
"""
SCHEDULE_SAVES = """
    bounds: base_lr, max_lr
    progress: before, epoch_batches, epoch_steps, extra_steps
    progress.courses[]: count, cycle, moved, phase
    progress.groups: begun, lr, weight_decay
"""
CYCLICAL_SAVES = f"""{SCHEDULE_SAVES}
    losses, snapshots
    progress.schedule: cycle_mult, down, gamma, mode, num_cycles, scale_mode, up, warmup, wave
"""
RANGE_TEST_SAVES = """
    done_epochs, module_lr, run_steps, update
    result: base_lr, confident, epoch, lr, max_lr, one_cycle_max_lr, reasons
    result.curve: losses, lrs, mode, monitor
"""
SEARCH_SAVES = """
    search: bad_steps, seed
    search.bracket: plan
    search.bracket.arguments: budget, every, extends, max_lr, max_steps, min_lr, mode, resumes_trials
    search.bracket.told[]: lr, spent, values
"""
ADAPTATION_SAVES = """
    epoch_batches, epoch_steps, extra_steps
    progress[]: guard_ended, late, losses
    progress[].adaptation: own, since, steps, unknown, used
    progress[].adaptation.units[]: alignment, ceiling, is_started, max_change, moved, own, proven
    progress[].adaptation.units[].rule: scale, turns
    progress[].watch: calm, deviation, deviation_count, first, learned, level, lowest, norm, returns, suspect
"""
LONG_HORIZON_SAVES = f"""{ADAPTATION_SAVES}
    progress[].adaptation.movement: squares
    progress[].adaptation.movement.means: *
    progress[].adaptation.units[].rule: count, mean, norm, overshot, square
"""
LAST_STEP_SAVES = f"""{ADAPTATION_SAVES}
    progress[].adaptation.movement: gradients, moved
    progress[].adaptation.movement.used[]: lr, momentum, weight_decay
    progress[].adaptation.units[].rule: before, beta
"""
AT_EPOCH_0 = "LRRangeTest{'at_epochs': [0]}"


def two_groups() -> Classifier:
    return Classifier(backbone_ratio=0.1)


def ctrl_c() -> Interrupted:
    return Interrupted("KeyboardInterrupt")


RUNS = {
    "LRTrace": Run(LRTrace, "lr/SGD, lr/loss"),
    "LRTrace, two parameter groups": Run(LRTrace, "lr/SGD/pg1, lr/SGD/pg2, lr/loss", model=two_groups),
    "LRTrace, two optimizers": Run(LRTrace, "lr/SGD, lr/SGD-1, lr/loss", model=TwoOptimizers),
    "LRRangeTest, verify=False": Run(
        lambda: LRRangeTest(num_steps=60, verify=False),
        TRACE_LOGS + RANGE_TEST_LOGS,
        RANGE_TEST_SAVES + "search",
        AT_EPOCH_0,
    ),
    "LRRangeTest of a metric, verify=False": Run(
        lambda: LRRangeTest(num_steps=60, monitor="train_loss", verify=False),
        """
        lr/SGD, lr/loss
        lr_range_test/lr, lr_range_test/train_loss, lr_range_test/train_loss_smoothed
        lr_range_test/suggested_lr, lr_range_test/base_lr, lr_range_test/max_lr
        lr_range_test/train_loss_vs_log10_lr_x1000 (chart in TensorBoard)
        lr_range_test/curve (figure in TensorBoard)
        lr_range_test/record (record in TensorBoard)
        """,
        RANGE_TEST_SAVES + "search",
        AT_EPOCH_0,
        LogsLoss,
    ),
    "LRRangeTest": Run(
        lambda: LRRangeTest(num_steps=20),
        TRACE_LOGS + RANGE_TEST_LOGS + SEARCH_LOGS,
        RANGE_TEST_SAVES + SEARCH_SAVES,
        AT_EPOCH_0,
    ),
    "LRRangeTest, interrupted in its trials": Run(
        lambda: LRRangeTest(num_steps=20),
        "",
        RANGE_TEST_SAVES + SEARCH_SAVES,
        AT_EPOCH_0,
        ctrl_c,
        interrupted_at=150,
    ),
    "LRSearch": Run(
        lambda: LRSearch(1e-3, 1.0, budget=800),
        TRACE_LOGS + SEARCH_LOGS,
        SEARCH_SAVES + "module_lr, run_steps, update",
    ),
    "LRSearch, interrupted": Run(
        lambda: LRSearch(1e-3, 1.0, budget=800),
        "",
        SEARCH_SAVES + "module_lr, run_steps, update",
        model=ctrl_c,
        interrupted_at=150,
    ),
    "CyclicalLR": Run(
        lambda: CyclicalLR(0.01, 0.1, 5),
        """
        lr/SGD, lr/loss
        cyclical_lr/record (record in TensorBoard)
        cyclical_lr/loss_vs_phase (figure in TensorBoard)
        """,
        CYCLICAL_SAVES,
    ),
    "CyclicalLR of momentum and weight decay": Run(
        lambda: CyclicalLR(0.01, 0.1, 5, momentum=(0.8, 0.9), weight_decay=(0.01, 0.05), log_position=True),
        """
        lr/SGD, lr/loss
        cyclical_lr/record (record in TensorBoard)
        cyclical_lr/cycle, cyclical_lr/phase, cyclical_lr/momentum, cyclical_lr/weight_decay
        cyclical_lr/loss_vs_phase (figure in TensorBoard)
        """,
        CYCLICAL_SAVES,
    ),
    "CyclicalLR of one optimizer of two": Run(
        lambda: CyclicalLR(0.01, 0.1, 5, optimizer=1),
        """
        lr/SGD, lr/SGD-1, lr/loss
        cyclical_lr/SGD-1/record (record in TensorBoard)
        cyclical_lr/SGD-1/loss_vs_phase (figure in TensorBoard)
        """,
        CYCLICAL_SAVES,
        "CyclicalLR{'optimizer': 1}",
        TwoOptimizers,
    ),
    "OneCycleLR": Run(
        lambda: OneCycleLR(0.1),
        "lr/SGD, lr/loss",
        SCHEDULE_SAVES + "progress.schedule: final_div_factor, pct_start, three_phase, total_steps, wave",
    ),
    "WarmupStableDecayLR": Run(
        lambda: WarmupStableDecayLR(0.1, 5, 10),
        "lr/SGD, lr/loss",
        SCHEDULE_SAVES + "progress.schedule: decay, total_steps, warmup",
    ),
    "HypergradientLR": Run(
        HypergradientLR,
        HYPERGRADIENT_LOGS,
        LONG_HORIZON_SAVES,
    ),
    "HypergradientLR, per_group": Run(
        lambda: HypergradientLR(per_group=True),
        """
        lr/SGD/pg1, lr/SGD/pg2, lr/loss
        hypergradient/alignment/SGD/pg1, hypergradient/log10_scale/SGD/pg1, hypergradient/turns/SGD/pg1
        hypergradient/alignment/SGD/pg2, hypergradient/log10_scale/SGD/pg2, hypergradient/turns/SGD/pg2
        """,
        LONG_HORIZON_SAVES,
        model=two_groups,
    ),
    "HypergradientLR of two optimizers": Run(
        HypergradientLR,
        """
        lr/SGD, lr/SGD-1, lr/loss
        hypergradient/alignment/SGD, hypergradient/log10_scale/SGD, hypergradient/turns/SGD
        hypergradient/alignment/SGD-1, hypergradient/log10_scale/SGD-1, hypergradient/turns/SGD-1
        """,
        LONG_HORIZON_SAVES,
        model=TwoOptimizers,
    ),
    "HypergradientLR, adapt=False": Run(
        lambda: HypergradientLR(adapt=False),
        """
        lr/SGD, lr/loss
        hypergradient/alignment/SGD, hypergradient/log10_scale/SGD, hypergradient/turns/SGD
        hypergradient/verdict (text in TensorBoard)
        """,
        LONG_HORIZON_SAVES,
    ),
    "HypergradientLR, multiplicative": Run(
        lambda: HypergradientLR("multiplicative"),
        HYPERGRADIENT_LOGS,
        LAST_STEP_SAVES,
    ),
    "HypergradientLR, additive": Run(
        lambda: HypergradientLR("additive", 1e-3),
        HYPERGRADIENT_LOGS,
        LAST_STEP_SAVES,
    ),
    "HypergradientLR without the mean in checkpoints": Run(
        lambda: HypergradientLR(save_anchor=False),
        HYPERGRADIENT_LOGS,
        ADAPTATION_SAVES
        + """
        progress[].adaptation: movement
        progress[].adaptation.units[].rule: count, mean, norm, overshot, square
        """,
    ),
}


def logged(keys: str) -> list[str]:
    """The keys of an entry of the table."""
    return [key for line in keys.split("\n") for key in line.strip().split(", ") if key]


def saved(lines: str) -> list[str]:
    """The nested keys of an entry of the table."""
    found = []
    for line in lines.split("\n"):
        path, _, keys = line.strip().rpartition(": ")
        found += [f"{path}.{key}" if path else key for key in keys.split(", ") if key]
    return found


def train(callbacks: list[Callback], run: Run, folder: Path) -> tuple[list[str], dict[str, Any]]:
    """The keys that are logged in a run, and the states of its callbacks in a checkpoint."""
    all_loggers, file = AllLoggers(folder), folder / "on_exception.ckpt"
    saving = OnException(folder) if run.interrupted_at else SaveAt(30, file)
    STEPS["left"] = run.interrupted_at
    seed_everything(0, verbose=False)
    trainer = quiet_trainer(callbacks=[*callbacks, saving], logger=all_loggers.loggers, log_every_n_steps=1)
    handler = signal.getsignal(signal.SIGINT)
    with suppress(KeyboardInterrupt, SystemExit) if run.interrupted_at else nullcontext():
        trainer.fit(run.model(), loader(), loader(4, seed=1))
    signal.signal(signal.SIGINT, handler)  # Lightning ignores it after a first Ctrl-C
    states: dict[str, Any] = torch.load(file, weights_only=True)["callbacks"]
    return all_loggers.keys(leave_out=["epoch", "train_loss", "val_acc"]), states


@pytest.mark.parametrize("name", RUNS)
def test_logged_and_saved_keys(name: str, tmp_path: Path) -> None:
    run = RUNS[name]
    callback = run.callback()
    keys, states = train([callback], run, tmp_path)
    told = [difference("logged", logged(run.logs), keys)]
    if run.saves:
        state_key = run.state_key or type(callback).__name__
        told.append(difference("state key", [state_key], states))
        state = states.get(state_key, {})
        arguments = inspect.signature(type(callback)).parameters
        header = [f"{key}={state.get(key)}" for key in ("version", "callback")]
        others = {key: value for key, value in state.items() if key not in ("arguments", "version", "callback")}
        told.append(difference("saved arguments", arguments, state.get("arguments", {})))
        told.append(difference("header", [f"version={STATE_VERSION}", f"callback={type(callback).__name__}"], header))
        told.append(difference("saved", saved(run.saves), nested_keys(others)))
        resumed = run.callback()
        resumed.load_state_dict(state)
        told.append(difference("loaded", nested_keys(state), nested_keys(resumed.state_dict())))
    else:
        told.append(difference("state key", [], states))
    assert not any(told), "\n".join(filter(None, told))


def test_callbacks_together_log_what_each_logs_alone(tmp_path: Path) -> None:
    callbacks = [LRRangeTest(num_steps=60, verify=False), CyclicalLR(step_size=5), HypergradientLR()]
    keys, states = train(callbacks, RUNS["LRRangeTest, verify=False"], tmp_path)
    expected = [
        key
        for name in ("LRRangeTest, verify=False", "CyclicalLR", "HypergradientLR")
        for key in logged(RUNS[name].logs)
    ]
    told = [
        difference("logged", expected, keys),
        difference("state keys", [AT_EPOCH_0, "CyclicalLR", "HypergradientLR"], states),
    ]
    assert not any(told), "\n".join(filter(None, told))
