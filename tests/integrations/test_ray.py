"""Ray Tune runs the rungs of a search side by side."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lightning_lr.search.bracket import Bracket
from lightning_lr.search.leaderboard import leaderboard

ray = pytest.importorskip("ray", reason="needs the extra 'ray'")
pytestmark = pytest.mark.filterwarnings("ignore")  # of Ray's own


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


def test_two_workers_run_a_search(tmp_path: Path) -> None:
    from ray.tune import FailureConfig, RunConfig

    from lightning_lr.integrations.ray import run_bracket

    lost = tmp_path / "lost"

    def train(lr: float) -> Iterator[float]:
        if lr > 0.5:
            raise FloatingPointError
        for i in range(1000):
            if i == 2 and 0.02 < lr < 0.05 and not lost.exists():
                lost.touch()
                raise ConnectionError("a machine is lost")
            depth = math.exp(-(math.log10(lr / 0.02) ** 2))
            yield math.nan if lr > 0.2 and i > 2 else 2.0 - depth * (1 - math.exp(-i / 3))

    bracket = Bracket(1e-3, 1.0, every=10)
    again = FailureConfig(max_failures=1)
    folder = tmp_path / "results"
    run_bracket(bracket, train, run_config=RunConfig(None, str(folder), failure_config=again, verbose=0))
    assert lost.exists()
    assert bracket.is_done
    assert {each.name for each in folder.iterdir()} == {"lr_search_rung_0_after_0", "lr_search_rung_1_after_7"}
    grid = {round(outcome.lr, 3): outcome for outcome in bracket.rungs[0]}
    assert grid[1.0].end == grid[0.316].end == "diverged"
    assert len(grid[0.316].values) == 4
    assert grid[1.0].error == "RayTaskError(FloatingPointError)"
    assert len(grid[0.032].values) == 4
    assert bracket.best.lr == pytest.approx(10**-1.5)
    assert len(bracket.best.values) == 20
    assert leaderboard(bracket)[0].lr == bracket.best.lr


def test_a_failure_beyond_the_range_is_a_divergence(tmp_path: Path) -> None:
    from ray.tune import RunConfig

    from lightning_lr.integrations.ray import run_bracket

    def train(lr: float) -> Iterator[float]:
        if lr > 0.2:
            raise FloatingPointError
        for i in range(20):
            yield 2.0 - lr * (1 - math.exp(-i / 3))

    bracket = Bracket(1e-3, 0.1, every=10)
    run_bracket(bracket, train, run_config=RunConfig(storage_path=str(tmp_path), verbose=0))
    assert {each.name for each in tmp_path.iterdir()} == {
        "lr_search_rung_0_after_0",
        "lr_search_rung_0_after_5",
        "lr_search_rung_1_after_6",
    }
    assert [(outcome.lr > 0.2, outcome.end == "diverged") for outcome in bracket.rungs[0]][-1] == (True, True)
    assert bracket.best.lr == pytest.approx(0.1)


def test_what_always_fails_is_not_taken_for_divergence(tmp_path: Path) -> None:
    from ray.tune import RunConfig

    from lightning_lr.integrations.ray import run_bracket

    config = RunConfig(storage_path=str(tmp_path), verbose=0)
    with pytest.raises(Exception, match=r"train must give 1 values for lr=0.*, got 0"):
        run_bracket(Bracket(0.1, 1.0, every=50), lambda lr: [], run_config=config)  # noqa: ARG005


def test_an_interrupted_rung_is_run_again(tmp_path: Path) -> None:
    from ray.tune import RunConfig

    from lightning_lr.integrations.ray import run_bracket

    driver = os.getpid()

    def train(lr: float) -> Iterator[float]:
        for _ in range(100):
            yield 1.0
            os.kill(driver, signal.SIGINT)
            time.sleep(0.5)

    bracket = Bracket(0.1, 1.0)
    with pytest.raises(RuntimeError, match="stopped in the midst of rung 0: call run_bracket again"):
        run_bracket(bracket, train, run_config=RunConfig(storage_path=str(tmp_path), verbose=0))
    assert not bracket.told
