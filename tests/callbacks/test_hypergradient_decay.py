"""The fall of the learning rate at the end of a run with `HypergradientLR`."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

from lightning_lr import CyclicalLR, HypergradientLR, OneCycleLR
from tests.helpers.hypergradient_cases import first_group_state, without_dropout
from tests.helpers.lightning_classes import (
    PACKAGE,
    Callback,
    MisconfigurationException,
    StochasticWeightAveraging,
    TensorBoardLogger,
    callbacks,
)
from tests.helpers.recorded_steps import RecordingClassifier, first_group_lrs, fit
from tests.helpers.tiny_models import loader

pytestmark = [
    pytest.mark.filterwarnings("ignore:The dirpath has changed"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]


class Scales(Callback):
    """Records the scale, without the fall, after each step."""

    def __init__(self, callback: HypergradientLR) -> None:
        self.callback, self.scales = callback, [1.0]

    def on_train_batch_end(self, *_: Any) -> None:
        self.scales.append(first_group_state(self.callback)["rule"]["scale"])


def _factors(length: int) -> list[float]:
    return [1 - math.sqrt(i / (length + 1)) for i in range(1, length + 1)]


def _said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "will fall" in record.getMessage()]


@pytest.mark.parametrize(("decay", "length"), [("auto", 8), ("0.5run", 20), (5, 5), ("1ep", 20), (1000, 40)], ids=str)
def test_the_last_rates_are_scale_times_factor(decay: Any, length: int, caplog: pytest.LogCaptureFixture) -> None:
    """The last fifth of the 40 steps by default. It is said once, when training starts."""
    model, adapts = RecordingClassifier(lr=1e-3), HypergradientLR(decay=decay)
    scales = Scales(adapts)
    with caplog.at_level("INFO", logger=PACKAGE):
        fit(model, adapts, scales)
    factors = [1.0] * (40 - length) + _factors(length)
    expected = [1e-3 * scale * factor for scale, factor in zip(scales.scales, factors, strict=False)]
    assert first_group_lrs(model) == pytest.approx(expected, rel=1e-9)
    assert len(set(scales.scales[max(2, 40 - length) : 40])) == 1  # the first step is shortened
    no_step = " No step is left to adapt it." if length == 40 else ""
    assert _said(caplog) == [
        f"HypergradientLR: the learning rate will fall in the last {length} of 40 steps; decay=None keeps it.{no_step}"
    ]
    reached = expected[-1] / factors[-1]
    assert f"has come to {reached:.3g} for SGD (scale: " in caplog.text
    assert re.search(r"sign changes: \d+\), before it fell at the end\.", caplog.text)


class Scheduled(RecordingClassifier):
    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 100)]  # which does not move in these runs


class Endless(IterableDataset[Any]):
    """Data without a length, for 40 steps."""

    def __iter__(self) -> Any:
        return iter(loader(40).dataset[i] for i in range(320))


@pytest.mark.parametrize(
    "case",
    ["scheduler", "cycles", "cycles first", "one cycle", "averaging", "no length", "None", "not adapted", "short"],
)
def test_there_is_none_beside_a_schedule_or_without_a_length(case: str, caplog: pytest.LogCaptureFixture) -> None:
    all_arguments: dict[str, dict[str, Any]] = {"None": {"decay": None}, "not adapted": {"adapt": False}}
    arguments = all_arguments.get(case, {})
    adapts = HypergradientLR("multiplicative") if case == "short" else HypergradientLR(**arguments)
    model = Scheduled() if case == "scheduler" else RecordingClassifier()
    others: dict[str, list[Callback]] = {
        "cycles": [CyclicalLR(0.01, 0.01, 5)],
        "one cycle": [OneCycleLR(0.01, div_factor=1.0, final_div_factor=1.0)],
        "averaging": [StochasticWeightAveraging(0.01, swa_epoch_start=0.5, annealing_epochs=1)],
    }
    first: list[Callback] = [CyclicalLR(0.01, 0.01, 5)] if case == "cycles first" else []
    data = DataLoader(Endless(), 8) if case == "no length" else None
    with caplog.at_level("INFO", logger=PACKAGE):
        fit(model, *first, adapts, *others.get(case, []), data=data, max_epochs=1 if case == "no length" else 2)
    assert _said(caplog) == []
    lrs = first_group_lrs(model)
    assert len(lrs) >= 40  # averaging has one more
    assert lrs[-1] > 0.6 * max(lrs[-10:])


class SeveralSteps(RecordingClassifier):
    """Three steps of the optimizer in each batch."""

    def __init__(self) -> None:
        super().__init__(lr=1e-3)
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        optimizer: Any = self.optimizers()
        for _ in range(3):
            optimizer.zero_grad()
            loss = super().training_step(batch, batch_idx)
            self.manual_backward(loss)
            optimizer.step()
        return {"loss": loss.detach()}


def test_manual_optimization_has_none_unless_asked(caplog: pytest.LogCaptureFixture) -> None:
    """How many steps a batch has is not known: a fall over the last of 40 steps would leave two thirds without one."""
    with caplog.at_level("INFO", logger=PACKAGE):
        fit(model := SeveralSteps(), HypergradientLR())
    assert _said(caplog) == []
    assert first_group_lrs(model)[-1] > 0.6 * max(first_group_lrs(model))
    with pytest.warns(UserWarning, match="took an epoch for 20 steps of SGD, one a batch, but it made 60"):
        fit(asked := SeveralSteps(), HypergradientLR(decay="0.2run"))
    rates = first_group_lrs(asked)
    assert len(rates) == 120
    assert 0 < rates[-1] == rates[40] < 0.2 * rates[31]  # and it never stops


@pytest.mark.parametrize("kind", ["scheduler", "cycles"])
def test_beside_a_schedule_it_is_an_error(kind: str) -> None:
    model = Scheduled() if kind == "scheduler" else RecordingClassifier()
    others = [CyclicalLR(0.001, 0.01, 5)] if kind == "cycles" else []
    with pytest.raises(MisconfigurationException, match=r"decay='0.2run' would come on top of a schedule"):
        fit(model, HypergradientLR(decay="0.2run"), *others)


@pytest.mark.parametrize("decay", [10, "0.2run"])
def test_without_a_length_it_is_an_error(decay: Any) -> None:
    with pytest.raises(ValueError, match="needs the length of the run, which is not known: give max_steps"):
        fit(RecordingClassifier(), HypergradientLR(decay=decay), data=DataLoader(Endless(), 8), max_epochs=1)


@pytest.mark.parametrize("step", [30, 32, 36])
def test_resume_in_the_middle_of_it_is_exact(step: int, tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"data": loader(1), "max_epochs": 40, "enable_checkpointing": True}

    def run(folder: Path, ckpt_path: Path | None = None) -> RecordingClassifier:
        model = without_dropout("Adam")
        keep = callbacks.ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)
        fit(model, HypergradientLR(horizon=10, every=2), keep, ckpt_path=ckpt_path, **arguments)
        return model

    whole = run(tmp_path)
    resumed = run(tmp_path / "resumed", tmp_path / f"step={step}.ckpt")
    assert first_group_lrs(resumed) == first_group_lrs(whole)[step:]
    assert first_group_lrs(whole)[-1] < 0.1 * first_group_lrs(whole)[30]
    for theirs, ours in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(theirs, ours)


def test_a_run_that_is_made_longer_has_its_full_rate_again(tmp_path: Path) -> None:
    whole = without_dropout()
    trainer = fit(whole, HypergradientLR())
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    longer, adapts = without_dropout(), HypergradientLR()
    fit(longer, adapts, ckpt_path=tmp_path / "end.ckpt", max_epochs=4)
    assert first_group_lrs(longer)[0] == pytest.approx(first_group_lrs(whole)[-1] / _factors(8)[-1], rel=0.1)
    assert first_group_lrs(longer)[-16:] == pytest.approx(
        [first_group_lrs(longer)[-16] / _factors(16)[0] * factor for factor in _factors(16)]
    )


@pytest.mark.parametrize("kind", ["without the callback", "of an older version"])
def test_a_checkpoint_that_has_no_count_of_steps_falls_at_the_end(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "half.ckpt"
    trainer = fit(without_dropout(), *([] if kind == "without the callback" else [HypergradientLR()]), max_epochs=1)
    trainer.save_checkpoint(path)
    if kind == "of an older version":
        checkpoint = torch.load(path, weights_only=True)
        del checkpoint["callbacks"]["HypergradientLR"]["progress"][0]["adaptation"]["steps"]
        torch.save(checkpoint, path)
    model = without_dropout()
    fit(model, HypergradientLR(), ckpt_path=path)
    rates = first_group_lrs(model)
    assert len(rates) == 20
    assert rates[-8:] == pytest.approx([rates[-8] / _factors(8)[0] * factor for factor in _factors(8)])


def test_a_second_fit_falls_at_its_end() -> None:
    """Lightning counts on from the first one."""
    model, adapts = without_dropout(), HypergradientLR()
    trainer = fit(model, adapts, max_epochs=1)
    trainer.fit_loop.max_epochs = 3
    model.used.clear()
    trainer.fit(model, loader())
    rates = first_group_lrs(model)
    assert len(rates) == 40
    assert rates[-12:] == pytest.approx([rates[-12] / _factors(12)[0] * factor for factor in _factors(12)])


def test_accumulated_gradients_are_counted_by_steps(tmp_path: Path) -> None:
    """And a resumed run does not take its first batch for a step."""

    def run(folder: Path, ckpt_path: Path | None = None) -> RecordingClassifier:
        model = without_dropout()
        keep = callbacks.ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)
        fit(
            model, HypergradientLR(horizon=10, every=2), keep, data=loader(3), max_epochs=20, ckpt_path=ckpt_path,
            accumulate_grad_batches=3, enable_checkpointing=True,
        )  # fmt: skip
        return model

    whole = run(tmp_path)
    resumed = run(tmp_path / "resumed", tmp_path / "step=9.ckpt")
    rates = first_group_lrs(whole)
    assert len(rates) == 20
    assert rates[-4:] == pytest.approx([rates[-4] / _factors(4)[0] * factor for factor in _factors(4)])
    assert first_group_lrs(resumed) == rates[9:]


def test_what_is_logged_includes_it(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    model, adapts, logger = RecordingClassifier(), HypergradientLR(), TensorBoardLogger(tmp_path)
    fit(model, adapts, logger=logger, log_every_n_steps=1)
    events = EventAccumulator(logger.log_dir).Reload()
    assert [e.value for e in events.Scalars("lr/SGD")][1:] == pytest.approx(first_group_lrs(model)[1:], rel=1e-6)
    scales = [10**e.value for e in events.Scalars("hypergradient/log10_scale/SGD")]
    rates = [rate / 0.01 for rate in first_group_lrs(model)]
    # what is logged behind a step is the scale of the next one, with the decay of this one: never 0
    assert scales[:31] == pytest.approx(rates[1:32], rel=1e-5)
    assert scales[32:] == pytest.approx(rates[32:], rel=1e-5)
