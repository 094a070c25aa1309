"""The line of progress through each kind of progress bar."""

from __future__ import annotations

import io
import logging
import re
import time
from typing import Any

import pytest
import torch
from lightning_utilities.core import rank_zero

from lightning_lr import LRRangeTest, LRSearch
from tests.helpers.lightning_classes import ProgressBar, RichProgressBar, TQDMProgressBar, tqdm_progress
from tests.helpers.tiny_models import Classifier, loader, quiet_trainer

pytestmark = pytest.mark.filterwarnings("ignore:LRRangeTest is not confident")


class Terminal(io.StringIO):
    """A terminal that keeps its output."""

    def isatty(self) -> bool:
        return True


def _shown(
    bar: ProgressBar | None,
    bar_first: bool,
    monkeypatch: pytest.MonkeyPatch,
    test: LRRangeTest | LRSearch | None = None,
    model: type[Classifier] = Classifier,
    **kwargs: Any,
) -> str:
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setattr(tqdm_progress.Tqdm, "monitor_interval", 0)
    monkeypatch.setenv("COLUMNS", "100")
    test = test or LRRangeTest(1e-4, 1.0, 20, verify=False)
    bars = [] if bar is None else [bar]
    order = [*bars, test] if bar_first else [test, *bars]
    trainer = quiet_trainer(callbacks=order, **{"max_epochs": 1, "enable_progress_bar": True, **kwargs})
    torch.manual_seed(0)  # some initial weights diverge before the last learning rate
    trainer.fit(model(), loader(), loader(4, seed=1))
    return terminal.getvalue()


@pytest.mark.parametrize("sanity", [0, 2])
@pytest.mark.parametrize("bar_first", [True, False])
@pytest.mark.parametrize("kind", [TQDMProgressBar, RichProgressBar])
def test_shows_count_rate_and_loss(
    kind: type[ProgressBar], bar_first: bool, sanity: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = _shown(kind(), bar_first, monkeypatch, num_sanity_val_steps=sanity)
    assert "LR range test" in shown
    assert "20/20 lr=1.0e+00 loss=" in shown
    assert "Epoch 0" in shown  # the user's own bar is shown too


class Slow(Classifier):
    """rich draws ten times a second. So a trial of 60 steps is drawn, however fast the machine is."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        time.sleep(0.004)
        return super().training_step(batch, batch_idx)


@pytest.mark.parametrize("kind", [TQDMProgressBar, RichProgressBar])
def test_a_search_counts_its_trials(kind: type[ProgressBar], monkeypatch: pytest.MonkeyPatch) -> None:
    shown = _shown(kind(), True, monkeypatch, LRSearch(1e-2, 1.0), Slow, max_epochs=5)
    assert re.search(r"LR search \d+/\d+ lr=\S+ step \d+/\d+ loss=\S+, \d:\d\d left", shown)
    steps = [(int(step), int(total)) for step, total in re.findall(r"step (\d+)/(\d+)", shown)]
    assert all(step <= total for step, total in steps)
    assert any(total > 40 for _, total in steps)
    counts = re.findall(r"LR search (\d+)/(\d+) lr=", shown)
    assert all(int(count) <= int(total) for count, total in counts)
    assert int(counts[-1][0]) == int(counts[-1][1]) > 5  # trials of longer rungs were added


@pytest.mark.parametrize("kind", [TQDMProgressBar, RichProgressBar])
def test_a_disabled_bar_is_silent(kind: type[ProgressBar], monkeypatch: pytest.MonkeyPatch) -> None:
    bar = kind()
    bar.disable()
    assert "LR range test" not in _shown(bar, True, monkeypatch)


def test_a_quiet_search(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The leaderboard goes with the progress bar, and with the level of Lightning's logger."""
    verbose = _shown(TQDMProgressBar(), True, monkeypatch, LRSearch(1e-2, 1.0), max_epochs=5)
    disabled = TQDMProgressBar()
    disabled.disable()
    assert "very high: diverges" in verbose
    assert "very high: diverges" not in _shown(disabled, True, monkeypatch, LRSearch(1e-2, 1.0), max_epochs=5)
    search = LRSearch(1e-2, 1.0)
    # that of the package which the program has imported first
    logger = logging.getLogger(rank_zero.log.name.partition(".utilities")[0])
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        quiet = _shown(TQDMProgressBar(), True, monkeypatch, LRSearch(1e-2, 1.0), max_epochs=5)
        shown = _shown(None, True, monkeypatch, search, enable_progress_bar=False, max_epochs=5)
    finally:
        logger.setLevel(level)
    assert "very high: diverges" not in quiet
    assert (shown, capsys.readouterr().err) == ("", "")
    assert search.result is not None


def test_no_bar_is_silent(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    assert _shown(None, True, monkeypatch, enable_progress_bar=False) == ""
    assert "LR range test" not in capfd.readouterr().err


def test_refresh_rate_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    often = _shown(TQDMProgressBar(1), True, monkeypatch).count("LR range test")
    seldom = _shown(TQDMProgressBar(10), True, monkeypatch).count("LR range test")
    assert seldom <= often / 4
