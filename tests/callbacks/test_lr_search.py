"""`LRSearch` in a Trainer: what it runs, finds, sets, leaves, and how it is taken up again."""

from __future__ import annotations

import csv
import json
import math
import os
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from lightning_lr import CyclicalLR, LRRangeTest, LRSearch, OneCycleLR, SearchResult
from tests.helpers.tiny_models import Classifier, loader, quiet_trainer

pytestmark = pytest.mark.filterwarnings("ignore:LRSearch is not confident")

NARROW: dict[str, Any] = {"min_lr": 1e-3, "max_lr": 1.0, "budget": 800}


def fit(model: LightningModule, *callbacks: Callback, data: Any = None, **kwargs: Any) -> Trainer:
    ckpt_path = kwargs.pop("ckpt_path", None)
    trainer = quiet_trainer(callbacks=list(callbacks), **kwargs)
    seed_everything(3, verbose=False)
    trainer.fit(model, loader(shuffle=True) if data is None else data, loader(4, seed=1), ckpt_path=ckpt_path)
    return trainer


def found(search: LRSearch | LRRangeTest) -> SearchResult:
    result = search.result if isinstance(search, LRSearch) else search.result and search.result.search
    assert isinstance(result, SearchResult)
    return result


def lrs(trainer: Trainer) -> list[float]:
    return [group["lr"] for optimizer in trainer.optimizers for group in optimizer.param_groups]


class Watch(Callback):
    """The learning rates that training used."""

    def __init__(self) -> None:
        self.lrs: list[float] = []

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        self.lrs.append(lrs(trainer)[0])


@pytest.mark.parametrize("options", [{}, {"optimizer": "Adam"}, {"backbone_ratio": 0.25}], ids=str)
def test_run_equals_one_started_with_the_learning_rate_found(options: dict[str, Any]) -> None:
    seed_everything(0)
    searched, search = Classifier(lr=1e-3, **options), LRSearch(**NARROW)
    fit(searched, search)
    lr = found(search).lr
    assert searched.hparams["lr"] == lr

    seed_everything(0)
    plain = Classifier(lr=lr, **options)
    fit(plain)
    assert searched.losses == plain.losses
    for ours, theirs in zip(searched.state_dict().values(), plain.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)


def test_the_best_rate_and_all_that_were_tried() -> None:
    search = LRSearch(1e-6, 1e3)
    fit(Classifier(lr=1e-3), search, max_epochs=1)
    result = found(search)
    assert result.confident
    assert 1e-2 < result.lr < 1
    assert (result.max_lr, result.base_lr) == (2 * result.lr, 0.5 * result.lr)
    verdicts = {each.lr: each.verdict for each in result.candidates}
    assert verdicts[min(verdicts)] == "low"
    assert verdicts[max(verdicts)] == "very high"
    assert verdicts[result.lr] == "good"
    assert result.steps < 2000


def test_apply_false_changes_nothing() -> None:
    losses = []
    for callbacks in ([LRSearch(**NARROW, apply=False)], []):
        seed_everything(0)
        model = Classifier(lr=1e-3)
        fit(model, *callbacks)
        losses.append(model.losses)
        assert model.hparams["lr"] == 1e-3
    assert losses[0] == losses[1]


BATCHES: list[tuple[float, Tensor]] = []  # where no snapshot reaches


class NotesBatches(Classifier):
    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        BATCHES.append((self.optimizers().param_groups[0]["lr"], batch[0].sum()))  # type: ignore[union-attr]
        return super().training_step(batch, batch_idx)


@pytest.mark.parametrize(("limit", "number"), [(100, 20), (6, 6), (0.25, 5), (1.0, 20)])
def test_same_batches_in_the_same_order_for_every_trial(limit: float, number: int) -> None:
    BATCHES.clear()
    search = LRSearch(**NARROW, limit_batches=limit)
    fit(NotesBatches(), search, max_epochs=1)
    of_trials = BATCHES[: -20 if len(BATCHES) > 20 else None]
    first = [x for lr, x in of_trials if lr == of_trials[0][0]]
    assert len(set(map(float, first))) == number
    for candidate in found(search).candidates:
        row = [x for lr, x in of_trials if lr == pytest.approx(candidate.lr)]
        # of each trial from its start, and of one that went on from where it was: always the same round
        assert row[:number] == first[: len(row[:number])]
        assert set(map(float, row)) <= set(map(float, first))


@pytest.mark.parametrize("limit", [100, 7])
def test_survivors_that_go_on_are_survivors_that_start_again(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for free in (1e9, 1e3):
        monkeypatch.setattr("lightning_lr.trainer.trials.free_bytes", lambda _, free=free: free)
        search = LRSearch(1e-3, 1.0, limit_batches=limit)
        seed_everything(0)
        fit(Classifier(optimizer="Adam"), search, max_epochs=1)
        results.append(found(search))
    first, second = results
    assert first.candidates == second.candidates
    assert first.steps < second.steps


def test_a_validation_metric_that_should_rise() -> None:
    search = LRSearch(
        **{**NARROW, "budget": 900}, monitor="val_acc", monitor_mode="max", steps_per_eval=25, eval_batches=2
    )
    fit(Classifier(lr=1e-3), search)
    result = found(search)
    assert 0.5 < result.candidates[0].score <= 1
    assert all(len(each.values) == each.steps / 25 for each in result.candidates)


def test_open_schedules_take_their_bounds() -> None:
    search, cycle, watch = LRSearch(**NARROW), CyclicalLR(step_size=5), Watch()
    fit(Classifier(lr=1e-3), cycle, search, watch, max_epochs=1)
    assert (watch.lrs[0], watch.lrs[5]) == pytest.approx((found(search).base_lr, found(search).max_lr))
    one, watch = OneCycleLR(pct_start=0.5), Watch()
    fit(Classifier(lr=1e-3), search, one, watch, max_epochs=1)
    assert max(watch.lrs) == pytest.approx(found(search).one_cycle_max_lr)


class Overflowing(Classifier):
    """NaN above a learning rate, from the third step on."""

    def __init__(self, above: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.above = above

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        too_high = self.optimizers().param_groups[0]["lr"] > self.above  # type: ignore[union-attr]
        return loss * torch.nan if too_high and len(self.losses) > 2 else loss


def test_nan_never_wins() -> None:
    search, model = LRSearch(**NARROW), Overflowing(0.02, lr=1e-3)
    fit(model, search)
    assert found(search).lr < 0.02
    assert {each.verdict for each in found(search).candidates if each.lr > 0.02} == {"very high"}
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


def test_a_diverging_grid_proposes_a_lower_range_and_leaves_the_model_alone() -> None:
    model = Overflowing(0.0, lr=1e-3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=r"All 7 learning rates .* min_lr=1e-06, max_lr=0\.001") as error:
        fit(model, LRSearch(**NARROW))
    assert "\n" not in str(error.value)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_accumulation_counts_optimizer_steps() -> None:
    search = LRSearch(**NARROW)
    fit(Classifier(), search, accumulate_grad_batches=3, max_epochs=1)
    assert found(search).steps <= 800
    assert max(each.steps for each in found(search).candidates) >= 50


class Manual(Classifier):
    """Two optimizers."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        self.manual_backward(loss)
        for optimizer in self.optimizers():  # type: ignore[union-attr]
            optimizer.step()
            optimizer.zero_grad()
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.backbone.parameters(), 0.1), torch.optim.Adam(self.head.parameters(), 0.01)


def test_manual_optimization_with_two_optimizers() -> None:
    search = LRSearch(**NARROW)
    trainer = fit(Manual(), search)
    assert lrs(trainer) == pytest.approx([found(search).lr, 0.1 * found(search).lr])


def stream(batches: int = 60) -> Iterator[Any]:
    yield from list(loader(batches))


def test_a_stream_that_can_be_read_once() -> None:
    search, searched, plain = LRSearch(**NARROW), Classifier(lr=1e-3), Classifier()
    plain.load_state_dict(searched.state_dict())
    fit(searched, search, data=stream(), max_epochs=1)
    plain.hparams["lr"] = found(search).lr
    fit(plain, data=stream(), max_epochs=1)
    assert searched.losses == plain.losses
    with pytest.raises(MisconfigurationException, match=r"limit_batches=0.5.* has no length"):
        fit(Classifier(), LRSearch(limit_batches=0.5), data=stream())


STEPS = {"left": 0}
ERRORS: dict[str, type[BaseException]] = {
    "ValueError": ValueError,
    "KeyboardInterrupt": KeyboardInterrupt,
    "SIGTERM": SIGTERMException,
}


class Interrupted(Classifier):
    """Ends by an error, Ctrl-C or a signal after some training steps, those of trials included."""

    def __init__(self, error: str = "ValueError", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.error = error

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        STEPS["left"] -= 1
        if STEPS["left"] == 0 and self.error == "SIGTERM":
            os.kill(os.getpid(), signal.SIGTERM)
        elif STEPS["left"] == 0:
            raise ERRORS[self.error]("the user's own")
        return super().training_step(batch, batch_idx)


@pytest.mark.parametrize(
    ("error", "steps"),
    [*(("KeyboardInterrupt", steps) for steps in (20, 220, 480)), ("ValueError", 220), ("SIGTERM", 220)],
)
def test_an_interrupted_search_goes_on_where_it_was(error: str, steps: int, tmp_path: Path) -> None:
    interrupt = signal.getsignal(signal.SIGINT)
    STEPS["left"] = 0  # never
    seed_everything(0)
    whole, model = LRSearch(1e-3, 1.0), Interrupted(error, lr=1e-3)
    fit(model, whole)

    STEPS["left"] = steps
    seed_everything(0)
    cut = LRSearch(1e-3, 1.0)
    with pytest.raises((ERRORS[error], SystemExit)):
        fit(Interrupted(error, lr=1e-3), cut, OnException(tmp_path))
    signal.signal(signal.SIGINT, interrupt)  # Lightning ignores it from a first Ctrl-C on
    assert cut.result is None
    told = cut.state_dict()["search"]["bracket"]["told"]
    assert (len(told) > 0) == (steps > 50)

    STEPS["left"] = 0
    torch.manual_seed(1234)  # another process begins with other random states
    resumed, again = LRSearch(1e-3, 1.0), Interrupted(error, lr=1e-3)
    fit(again, resumed, ckpt_path=tmp_path / "on_exception.ckpt")
    assert found(resumed).candidates == found(whole).candidates
    saved = sum(len(each["values"]) for each in told)
    assert -STEPS["left"] <= found(whole).steps - saved + 240 + len(model.losses)  # survivors start again
    assert again.losses == model.losses


class OnException(Callback):
    """As Lightning's ``OnExceptionCheckpoint``, which takes its file away again when the process goes on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        trainer.save_checkpoint(self.folder / "on_exception.ckpt")


def test_changed_arguments_start_another_search(tmp_path: Path) -> None:
    STEPS["left"] = 220
    with pytest.raises(ValueError, match="the user's own"):
        fit(Interrupted(), LRSearch(1e-3, 1.0), OnException(tmp_path))
    STEPS["left"] = 0
    search = LRSearch(1e-4, 0.1, budget=800)
    with pytest.warns(UserWarning, match=r"LRSearch is resumed with changed arguments.*min_lr: 0.001 -> 0.0001"):
        fit(Interrupted(), search, ckpt_path=tmp_path / "on_exception.ckpt")
    assert min(each.lr for each in found(search).candidates) == pytest.approx(1e-4)


def test_a_search_that_is_done_is_not_run_again(tmp_path: Path) -> None:
    first = LRSearch(**NARROW)
    trainer = fit(Classifier(lr=1e-3), first, max_epochs=1)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    second, model = LRSearch(**NARROW), Classifier(lr=1e-3)
    resumed = fit(model, second, ckpt_path=tmp_path / "run.ckpt")
    assert len(model.losses) == 20
    assert second.result == first.result
    assert lrs(resumed) == [found(first).lr]


def test_a_search_added_to_a_run_under_way_says_so(tmp_path: Path) -> None:
    fit(Classifier(), max_epochs=1).save_checkpoint(tmp_path / "run.ckpt")
    search = LRSearch(**NARROW)
    with pytest.warns(UserWarning, match="at the start of a run only"):
        fit(Classifier(), search, ckpt_path=tmp_path / "run.ckpt")
    assert search.result is None


def test_the_same_callback_searches_again_in_another_run() -> None:
    search, results = LRSearch(**NARROW), []
    for _ in range(2):
        fit(Classifier(lr=1e-3), search, max_epochs=1)
        results.append(search.result)
    assert results[0] is not results[1] is not None


def test_loggers_get_every_trial(tmp_path: Path) -> None:
    search = LRSearch(1e-3, 100.0)
    board, table = TensorBoardLogger(tmp_path, "board"), CSVLogger(tmp_path, "csv")
    fit(Classifier(), search, logger=[board, table], log_every_n_steps=5, max_epochs=1)
    bracket = search._search.bracket  # type: ignore[union-attr]
    events = EventAccumulator(board.log_dir, {"tensors": 0}).Reload()
    assert [e.value for e in events.Scalars("lr_search/lr")] == pytest.approx([each.lr for each in bracket.told])
    assert [e.value for e in events.Scalars("lr_search/rung")] == [each.trial.rung for each in bracket.told]
    finite = [each.score for each in bracket.told if math.isfinite(each.score)]
    assert 0 < len(finite) < len(bracket.told)
    assert [e.value for e in events.Scalars("lr_search/score")] == pytest.approx(finite, rel=1e-6)
    assert [e.value for e in events.Scalars("lr_search/suggested_lr")] == [pytest.approx(found(search).lr)]
    assert events.Tags()["images"] == ["lr_search/trials"]
    (text,) = events.Tensors("lr_search/leaderboard/text_summary")
    assert b"| lr | verdict | score |" in text.tensor_proto.string_val[0]
    header = (Path(table.log_dir) / "metrics.csv").read_text().splitlines()[0]
    assert {"lr_search/lr", "lr_search/score", "lr_search/rung"} <= set(header.split(","))


def test_terminal_and_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "180")
    search = LRSearch(1e-3, 100.0, output_dir=tmp_path / "found")
    fit(Classifier(), search)
    shown = capsys.readouterr().out
    assert f"LR search: loss of {len(search._search.bracket.told)} trials" in shown  # type: ignore[union-attr]
    for words in ("very high: diverges", "good: the best", "low: learns slowly", "could not catch up with"):
        assert words in shown
    assert {path.name for path in (tmp_path / "found").iterdir()} == {
        f"lr_search.{kind}" for kind in ("csv", "json", "png")
    }
    with (tmp_path / "found" / "lr_search.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["lr"]) for row in rows] == pytest.approx([each.lr for each in found(search).candidates], rel=1e-2)
    written = json.loads((tmp_path / "found" / "lr_search.json").read_text())
    assert written["lr"] == found(search).lr
    assert [each["verdict"] for each in written["candidates"]] == [row["verdict"] for row in rows]


def test_nothing_is_written_unless_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fit(Classifier(), LRSearch(**NARROW), default_root_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_two_owners_are_refused() -> None:
    for other in (LRRangeTest(), LRSearch()):
        with pytest.raises(MisconfigurationException, match="would both set the learning rate: leave one of them out"):
            fit(Classifier(), LRSearch(), Keyed(other))
    search = LRSearch(**NARROW)
    fit(Classifier(), LRRangeTest(num_steps=200, apply=False), search, max_epochs=1)
    assert search.result is not None


def Keyed(callback: Any) -> Any:  # noqa: N802
    """The same callback with a key of its own: Lightning itself refuses two with equal ones."""
    callback.__class__ = type(type(callback).__name__, (type(callback),), {"state_key": "another"})
    return callback


def test_fast_dev_run_is_skipped_with_one_warning() -> None:
    search = LRSearch()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(Classifier(), search, fast_dev_run=True)
    assert search.result is None
    assert [str(w.message) for w in caught if "LRSearch" in str(w.message)] == [
        "LRSearch is skipped: Trainer(fast_dev_run=...) is set."
    ]


BAD_ARGUMENTS: dict[str, tuple[dict[str, Any], str]] = {
    "min_lr of 0": ({"min_lr": 0.0}, "min_lr"),
    "min_lr above max_lr": ({"min_lr": 1.0, "max_lr": 0.1}, "min_lr"),
    "small budget": ({"budget": 100}, "budget"),
    "monitor_mode": ({"monitor_mode": "up"}, "monitor_mode"),
    "snapshot": ({"snapshot": "disk"}, "snapshot"),
    "eval_batches": ({"eval_batches": 0}, "eval_batches"),
    "steps_per_eval": ({"steps_per_eval": 0}, "steps_per_eval"),
    "no batches": ({"limit_batches": 0}, "limit_batches"),
    "words for batches": ({"limit_batches": "many"}, "limit_batches"),
    "words for a rate": ({"max_lr": "large"}, "max_lr must be a number, got 'large'"),
    "apply as text": ({"apply": "no"}, "apply must be true or false, got 'no'"),
    "no folder": ({"output_dir": 3}, "output_dir must be the path of a folder, got 3"),
    "a share above 1": ({"limit_batches": 1.5}, "limit_batches"),
    "a file": ({"output_dir": __file__}, "output_dir"),
}


@pytest.mark.parametrize("case", BAD_ARGUMENTS)
def test_bad_arguments_are_refused_by_name_and_value(case: str) -> None:
    arguments, name = BAD_ARGUMENTS[case]
    with pytest.raises(ValueError, match=name) as error:
        LRSearch(**arguments)
    assert "\n" not in str(error.value)


SWEEP: dict[str, Any] = {"num_steps": 20, "min_lr": 1e-4, "max_lr": 0.3}  # too few to be confident


def test_an_unsure_range_test_searches_and_says_why(caplog: pytest.LogCaptureFixture) -> None:
    test = LRRangeTest(**SWEEP)
    seed_everything(0)
    searched = Classifier(lr=1e-3)
    with caplog.at_level("INFO"):
        fit(searched, test)
    assert test.result is not None
    result = found(test)
    assert (test.result.lr, test.result.max_lr, test.result.reasons) == (result.lr, result.max_lr, result.reasons)
    assert "LRRangeTest is not confident: no divergence was reached up to lr=0.3: raise max_lr" in caplog.text
    assert "are tried one by one" in caplog.text
    assert all(1e-4 * 0.999 <= each.lr <= 0.3 * 1.001 for each in result.candidates)
    assert max(each.lr for each in result.candidates) / min(each.lr for each in result.candidates) <= 1001

    seed_everything(0)
    plain = Classifier(lr=result.lr)
    fit(plain)
    assert searched.losses == plain.losses


def test_a_sure_range_test_does_not_search() -> None:
    test = LRRangeTest(num_steps=200)
    fit(Classifier(lr=1e-3), test, max_epochs=1)
    assert test.result is not None
    assert test.result.search is None
    assert test.result.confident


@pytest.mark.filterwarnings("ignore:LRRangeTest is not confident")
def test_warn_keeps_what_the_sweep_found() -> None:
    test = LRRangeTest(**SWEEP, if_unsure="warn")
    fit(Classifier(lr=1e-3), test, max_epochs=1)
    assert test.result is not None
    assert test.result.search is None
    assert not test.result.confident


@pytest.mark.filterwarnings("ignore:LRRangeTest is not confident")
def test_an_unsure_range_test_on_a_stream() -> None:
    test, searched, plain = LRRangeTest(**SWEEP), Classifier(lr=1e-3), Classifier()
    plain.load_state_dict(searched.state_dict())
    fit(searched, test, data=stream(), max_epochs=1)
    plain.hparams["lr"] = found(test).lr
    fit(plain, data=stream(), max_epochs=1)
    assert searched.losses == plain.losses


@pytest.mark.filterwarnings("ignore:LRRangeTest is not confident")
@pytest.mark.parametrize("epoch", [0, 1])
def test_a_search_of_a_range_test_goes_on_too(epoch: int, tmp_path: Path) -> None:
    arguments = {**SWEEP, "at_epochs": [epoch]}
    STEPS["left"] = 0
    seed_everything(0)
    whole, model = LRRangeTest(**arguments), Interrupted(lr=1e-3)
    fit(model, whole, max_epochs=3)
    STEPS["left"] = 400
    seed_everything(0)
    cut = LRRangeTest(**arguments)
    with pytest.raises(ValueError, match="the user's own"):
        fit(Interrupted(lr=1e-3), cut, OnException(tmp_path), max_epochs=3)
    assert len(cut.state_dict()["search"]["bracket"]["told"]) > 2
    STEPS["left"] = 0
    resumed, again = LRRangeTest(**arguments), Interrupted(lr=1e-3)
    fit(again, resumed, max_epochs=3, ckpt_path=tmp_path / "on_exception.ckpt")
    assert found(resumed).candidates == found(whole).candidates
    assert resumed.result is not None
    assert whole.result is not None
    assert resumed.result.curve.losses.tolist() == whole.result.curve.losses.tolist()
    assert resumed.state_dict()["done_epochs"] == [epoch]
    trainer = fit(Classifier(lr=1e-3), whole, max_epochs=3)
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    third = LRRangeTest(**arguments)
    third.load_state_dict(torch.load(tmp_path / "end.ckpt", weights_only=True)["callbacks"][third.state_key])
    assert third.result is not None
    assert third.result.search == whole.result.search
