"""Runs with `HypergradientLR` that are interrupted, resumed, and begun again."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from lightning_lr import CyclicalLR, HypergradientLR
from tests.helpers.hypergradient_cases import RULES, FaultyLoss, first_group_state, without_dropout
from tests.helpers.lightning_classes import Callback, CSVLogger, LearningRateMonitor, callbacks
from tests.helpers.recorded_steps import RecordingClassifier, first_group_lrs, fit
from tests.helpers.schedule_cases import SaveAt
from tests.helpers.tiny_models import loader, quiet_trainer

pytestmark = [
    pytest.mark.filterwarnings("ignore:Attribute 'factor' removed from hparams"),
    pytest.mark.filterwarnings("ignore:The dirpath has changed"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]


def _callbacks(rule: str, folder: Path, **kwargs: Any) -> list[Callback]:
    keep = callbacks.ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)
    return [CyclicalLR(0.001, 0.01, 5), RULES[rule](every=2, **kwargs), keep]


@pytest.mark.parametrize("optimizer", ["SGD", "plain SGD", "Adam", "RMSprop"])
@pytest.mark.parametrize("rule", RULES)
def test_resume_is_exact(rule: str, optimizer: str, tmp_path: Path) -> None:
    """From a checkpoint between two measurements and from one behind one: same rates, weights and losses watched."""
    arguments: dict[str, Any] = {"data": loader(1), "max_epochs": 40, "enable_checkpointing": True}
    whole = without_dropout(optimizer)
    _, uninterrupted, _ = made = _callbacks(rule, tmp_path)
    fit(whole, *made, **arguments)
    assert len(set(first_group_lrs(whole))) > 35
    for step in (20, 21):
        resumed = without_dropout(optimizer)
        _, adapts, _ = made = _callbacks(rule, tmp_path / "resumed")
        fit(resumed, *made, ckpt_path=tmp_path / f"step={step}.ckpt", **arguments)
        assert first_group_lrs(resumed) == first_group_lrs(whole)[step:]
        for theirs, ours in zip(whole.parameters(), resumed.parameters(), strict=True):
            assert torch.equal(theirs, ours)
        ends = [each.state_dict()["progress"][0] for each in (uninterrupted, adapts)]
        assert ends[0]["watch"] == ends[1]["watch"]
        assert ends[0]["losses"] == ends[1]["losses"]
        assert ends[0]["adaptation"]["units"] == ends[1]["adaptation"]["units"]


class ResumableLoader(DataLoader[Any]):
    """In a fixed order; goes on after the batch at which a checkpoint was saved."""

    def __init__(self, dataset: Any) -> None:
        super().__init__(dataset, batch_size=8)
        self.position = self.start = 0

    def __iter__(self) -> Any:
        start, self.start = self.start, 0
        for self.position, batch in enumerate(super().__iter__(), start=1):
            if self.position > start:
                yield batch

    def state_dict(self) -> dict[str, int]:
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.start = state["position"]


@pytest.mark.parametrize("scheduled", [False, True])
@pytest.mark.parametrize("adapts_first", [False, True])
def test_resume_within_an_epoch_is_exact(adapts_first: bool, scheduled: bool, tmp_path: Path) -> None:
    """With a scheduler that is replaced, and without one; the learning rate is right before the first step already."""

    def run(*others: Callback, ckpt_path: Path | None = None) -> tuple[RecordingClassifier, LearningRateMonitor]:
        model = _scheduled("SGD") if scheduled else without_dropout()
        model.backbone[3] = torch.nn.Identity()
        cycle, adapts = CyclicalLR(0.001, 0.01, 7, replace_scheduler=scheduled), HypergradientLR(horizon=20)
        monitor = LearningRateMonitor("step")
        made = [adapts, cycle, monitor] if adapts_first else [cycle, adapts, monitor]
        logger = CSVLogger(tmp_path / f"{ckpt_path is None}")
        data = ResumableLoader(loader().dataset)
        fit(model, *made, *others, data=data, ckpt_path=ckpt_path, logger=logger, log_every_n_steps=1)
        return model, monitor

    path = tmp_path / "run.ckpt"
    whole, _ = run(SaveAt(27, path))
    resumed, monitor = run(ckpt_path=path)
    assert len(resumed.used) == 13
    assert resumed.used == whole.used[27:]
    assert [rate for (rate,) in resumed.used] == monitor.lrs["lr-SGD"]
    assert resumed.losses == whole.losses[27:]
    for theirs, ours in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(theirs, ours)


def test_resume_without_the_anchor_goes_on_with_scale_and_turns(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"data": loader(1), "max_epochs": 40, "enable_checkpointing": True}
    whole = without_dropout()
    fit(whole, *_callbacks("long_horizon", tmp_path, save_anchor=False), **arguments)
    path = tmp_path / "step=20.ckpt"
    progress = torch.load(path, weights_only=True)["callbacks"]["HypergradientLR"]["progress"]
    assert progress[0]["adaptation"]["movement"] is None
    resumed = without_dropout()
    fit(resumed, *_callbacks("long_horizon", tmp_path / "r", save_anchor=False), ckpt_path=path, **arguments)
    assert first_group_lrs(resumed)[:2] == first_group_lrs(whole)[20:22]
    assert first_group_lrs(resumed) != first_group_lrs(whole)[20:]


def test_changed_arguments_are_reported_and_win(tmp_path: Path) -> None:
    trainer = fit(without_dropout(), HypergradientLR("multiplicative", 0.1))
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    changed = HypergradientLR("multiplicative", 0.2)
    with pytest.warns(UserWarning, match=r"HypergradientLR is resumed with changed arguments.*beta: 0.1 -> 0.2"):
        fit(without_dropout(), changed, ckpt_path=tmp_path / "run.ckpt", max_epochs=3)
    assert first_group_state(changed)["rule"]["beta"] == 0.2


def test_what_was_resumed_can_be_resumed_again(tmp_path: Path) -> None:
    """A checkpoint between a resume and the next measurement holds the mean as well."""
    arguments: dict[str, Any] = {"data": loader(1), "max_epochs": 40, "enable_checkpointing": True}

    def run(folder: Path, **more: Any) -> RecordingClassifier:
        model = without_dropout()
        keep = callbacks.ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)
        adapts = HypergradientLR(horizon=20, every=10, decay=None)  # the length of the run changes
        fit(model, adapts, keep, **{**arguments, **more})
        return model

    whole = run(tmp_path)
    run(tmp_path / "once", ckpt_path=tmp_path / "step=22.ckpt", max_epochs=25)
    again = run(tmp_path / "twice", ckpt_path=tmp_path / "once" / "step=24.ckpt")
    rest = first_group_lrs(whole)[
        24:
    ]  # Lightning counts one epoch less for each checkpoint that is saved before its end
    assert first_group_lrs(again)[: len(rest)] == rest


def test_goes_back_right_after_a_resume(tmp_path: Path) -> None:
    """Before anything was measured: the mean is that of the checkpoint."""
    arguments: dict[str, Any] = {"data": loader(1), "max_epochs": 60}
    model = FaultyLoss(lambda _: 1.0)
    trainer = fit(model, HypergradientLR(horizon=20, every=10), data=loader(1), max_epochs=25)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    resumed = FaultyLoss(lambda step: float("nan") if step == 2 else 1.0)
    with pytest.warns(UserWarning, match="training with SGD has diverged"):
        fit(resumed, HypergradientLR(horizon=20, every=10), ckpt_path=tmp_path / "run.ckpt", **arguments)
    assert all(parameter.isfinite().all() for parameter in resumed.parameters())


@pytest.mark.filterwarnings("ignore:HypergradientLR. training with SGD has diverged")
@pytest.mark.parametrize("step", [31, 32, 33])
def test_resume_right_after_a_return_is_exact(step: int, tmp_path: Path) -> None:
    """No step has been made from the anchor then, so the next measurement gives no alignment."""

    def run(bad: int, folder: Path, ckpt_path: Path | None = None) -> FaultyLoss:
        torch.manual_seed(0)
        model = FaultyLoss(lambda step: math.nan if step == bad else 1.0, momentum=0.9)
        model.backbone[3] = torch.nn.Identity()
        keep = callbacks.ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)
        adapts = HypergradientLR(horizon=20, every=1)
        fit(model, adapts, keep, data=loader(1), max_epochs=40, enable_checkpointing=True, ckpt_path=ckpt_path)
        return model

    whole = run(30, tmp_path)
    resumed = run(0, tmp_path / "resumed", tmp_path / f"step={step}.ckpt")
    assert first_group_lrs(resumed) == first_group_lrs(whole)[step:]


@pytest.mark.filterwarnings("ignore:HypergradientLR. training with SGD has diverged")
@pytest.mark.filterwarnings("ignore:HypergradientLR has taken training")
@pytest.mark.parametrize("is_old", [False, True])
def test_a_guard_that_has_ended_stays_so_after_a_resume(is_old: bool, tmp_path: Path) -> None:
    """Checkpoints of older versions do not say so: they load, with a guard."""
    adapts, path = HypergradientLR(horizon=20), tmp_path / "run.ckpt"
    trainer = fit(FaultyLoss(lambda step: math.nan if step >= 30 else 1.0), adapts, data=loader(60), max_epochs=1)
    trainer.save_checkpoint(path)
    if is_old:
        checkpoint = torch.load(path, weights_only=True)
        (progress,) = checkpoint["callbacks"]["HypergradientLR"]["progress"]
        assert progress.pop("guard_ended")
        for unit in progress["adaptation"]["units"]:
            assert unit.pop("moved")
        torch.save(checkpoint, path)
    resumed = HypergradientLR(horizon=20)
    fit(FaultyLoss(lambda _: 1.0), resumed, data=loader(60), max_epochs=2, ckpt_path=path)
    # the older one has had 3 returns as well, and its weights are not finite: the guard ends again
    assert resumed.state_dict()["progress"][0]["guard_ended"]


def _in_the_old_form(progress: dict[str, Any]) -> None:
    """As before the rule was rewritten: it lacks what is needed now, and has other keys."""
    adaptation = progress["adaptation"]
    del adaptation["steps"]
    for unit in adaptation["units"]:
        rule = unit["rule"]
        unit["rule"] = {"scale": rule["scale"], "turns": 4, "mean": -0.02, "latest": 0.05, "variance": 0.01}
        unit.update(direction=1, steady=math.inf, steps=21, peak=0.01)
    watch = {"start": 1.2, "mean": 0.5, "level": 0.6, "lowest": math.inf, "low": 0.5, "variance": 0.01}
    progress["watch"] = {**watch, "latest": [0.5] * 16, "far": 0, "high": 0, "calm": 21, "returns": 0}


def test_older_checkpoints_load(tmp_path: Path) -> None:
    """The scale goes on. The rule does not wait until the loss has fallen again."""
    whole = without_dropout()
    fit(whole, HypergradientLR(horizon=20), SaveAt(21, tmp_path / "run.ckpt"), data=loader(100), max_epochs=1)
    checkpoint = torch.load(tmp_path / "run.ckpt", weights_only=True)
    (progress,) = checkpoint["callbacks"]["HypergradientLR"]["progress"]
    _in_the_old_form(progress)
    arguments = checkpoint["callbacks"]["HypergradientLR"]["arguments"]
    for name in ("min_lr", "max_lr", "freeze_after", "decay"):
        del arguments[name]
    torch.save(checkpoint, tmp_path / "old.ckpt")
    model, adapts, states = without_dropout(), HypergradientLR(horizon=20), []

    class Keep(Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            states.append(adapts.state_dict()["progress"][0])

    fit(model, adapts, Keep(), data=ResumableLoader(loader(100).dataset), max_epochs=1, ckpt_path=tmp_path / "old.ckpt")
    assert first_group_lrs(model)[0] == pytest.approx(first_group_lrs(whole)[21], rel=1e-6)
    assert len(set(first_group_lrs(model))) > 40
    rule, watch = states[0]["adaptation"]["units"][0]["rule"], states[0]["watch"]
    assert rule["turns"] in (4, 5)
    assert watch["learned"]
    assert math.isfinite(states[5]["watch"]["lowest"])
    assert states[5]["watch"]["level"] < 2
    assert states[-1]["watch"]["returns"] == 0
    assert fmean(model.losses[-10:]) < 0.7 * fmean(whole.losses[:10])


def test_with_another_rule_the_schedule_goes_on(tmp_path: Path) -> None:
    """What the checkpoint's groups hold is scaled; the new rule begins at the schedule's own value."""
    trainer = fit(_scheduled(), RULES["long_horizon"](), max_epochs=1)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    resumed = _scheduled()
    changed = pytest.warns(UserWarning, match="resumed with changed arguments")
    with changed, pytest.warns(UserWarning, match="begins anew, with a scale of 1"):
        fit(resumed, RULES["multiplicative"](), ckpt_path=tmp_path / "run.ckpt", max_epochs=2)
    assert first_group_lrs(resumed)[0] == pytest.approx(1e-3 * 0.9**20, rel=1e-6)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_another_fit_keeps_the_scale_and_nothing_of_the_old_optimizer(rule: str, optimizer: str) -> None:
    """Lightning makes new optimizers and schedulers for it."""
    model, adapts = _scheduled(optimizer), RULES[rule]()
    trainer = quiet_trainer(callbacks=[adapts], max_epochs=1)
    trainer.fit(model, loader())
    scale, highest = first_group_state(adapts)["rule"]["scale"], first_group_state(adapts)["proven"]
    model.used.clear()
    trainer.fit_loop.max_epochs = 2
    trainer.fit(model, loader())
    assert scale != 1
    expected = min(scale * 1e-3, math.exp(0.1) * highest) if rule == "long_horizon" else scale * 1e-3
    assert first_group_lrs(model)[0] == pytest.approx(expected, rel=1e-6)
    assert all(rate > 0 for rate in first_group_lrs(model))


def _scheduled(optimizer: str = "SGD") -> RecordingClassifier:
    class Scheduled(RecordingClassifier):
        def configure_optimizers(self) -> Any:
            made = super().configure_optimizers()
            scheduler = torch.optim.lr_scheduler.ExponentialLR(made, 0.9)
            return [made], [{"scheduler": scheduler, "interval": "step"}]

    torch.manual_seed(0)
    return Scheduled(lr=1e-3, optimizer=optimizer)
