"""`LRCurve`, the smoother against its formula in loops, and when a sweep ends early."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from lightning_lr import LRCurve
from lightning_lr.range_test.curve import num_initial
from lightning_lr.range_test.early_stop import has_diverged
from lightning_lr.range_test.smoothing import Array, smooth

LRS = np.geomspace(1e-7, 10, 100)


def _naive_smooth(values: list[float]) -> list[float]:
    sigma = max(1.0, 0.03 * len(values))
    smoothed = []
    for i in range(len(values)):
        window = [j for j in range(len(values)) if abs(j - i) <= int(3 * sigma + 0.5)]
        weights = [math.exp(-((j - i) ** 2) / (2 * sigma**2)) for j in window]
        smoothed.append(sum(w * values[j] for w, j in zip(weights, window, strict=True)) / sum(weights))
    return smoothed


@pytest.mark.parametrize("count", [1, 3, 10, 40, 200])
def test_smooth_is_the_renormalised_gaussian_mean(count: int) -> None:
    values = np.random.default_rng(0).normal(size=count)
    assert smooth(values) == pytest.approx(_naive_smooth(values.tolist()), abs=1e-12)


def test_smoothed_ends_at_the_first_value_that_is_not_finite() -> None:
    losses = np.linspace(2, 1, 100)
    losses[80] = np.inf
    smoothed = LRCurve(LRS, losses).smoothed()
    assert smoothed[:80] == pytest.approx(_naive_smooth(losses[:80].tolist()))
    assert np.isnan(smoothed[80:]).all()


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_files_give_the_same_curve_again(kind: str, tmp_path: Path) -> None:
    losses = np.random.default_rng(1).normal(size=100)
    losses[90:] = np.nan
    curve = LRCurve(LRS, losses, "val_acc", "max")
    getattr(curve, f"to_{kind}")(tmp_path / "curve")
    again = LRCurve.from_csv(tmp_path / "curve", "max") if kind == "csv" else LRCurve.from_json(tmp_path / "curve")
    np.testing.assert_array_equal(again.lrs, curve.lrs)
    np.testing.assert_array_equal(again.losses, curve.losses)
    assert (again.monitor, again.mode) == ("val_acc", "max")


def test_json_has_no_nan(tmp_path: Path) -> None:
    LRCurve(LRS, np.full(100, np.nan)).to_json(tmp_path / "curve.json")
    assert "NaN" not in (tmp_path / "curve.json").read_text()


def test_lists_will_do() -> None:
    curve = LRCurve(LRS.tolist(), LRS.tolist())
    assert isinstance(curve.lrs, np.ndarray)
    assert curve.losses.tolist() == LRS.tolist()


def test_the_width_of_the_smoother_is_a_share_of_the_points() -> None:
    spike = np.zeros(101)
    spike[50] = 1.0
    for share in (0.03, 0.1):
        smoothed = smooth(spike, share)
        deviation = math.sqrt(float(np.sum(smoothed * (np.arange(101) - 50.0) ** 2)))
        assert deviation == pytest.approx(share * 101, rel=0.02)  # a little less, by the cut at 3σ


def test_cost_is_what_rules_minimise() -> None:
    values = np.linspace(0, 1, 100)
    assert LRCurve(LRS, values).cost.tolist() == values.tolist()
    assert LRCurve(LRS, values, mode="max").cost.tolist() == (-values).tolist()


def test_initial_points_have_a_negligible_learning_rate() -> None:
    assert num_initial(np.geomspace(1e-7, 10, 200)) == 50  # a quarter: the cumulative sum passes 1e-3 only later
    assert num_initial(np.linspace(0.01, 1, 200)) == 3


def test_divergence() -> None:
    flat = [2.0] * 60
    assert not has_diverged(LRS, [*flat, 4.9])  # one bad batch is no divergence
    assert not has_diverged(LRS, [*flat, 2.9, 2.9, 2.9])  # below 2 + 2 · |2|/4
    assert has_diverged(LRS, [*flat, 3.1, 3.1, 3.1])
    falling = [2.0] * 40 + [0.5] * 20  # it fell by 1.5: 2 + 2 · 1.5 is the limit
    assert not has_diverged(LRS, [*falling, 4.9, 4.9, 4.9])
    assert has_diverged(LRS, [*falling, 5.1, 5.1, 5.1])


def test_values_that_are_not_finite_are_left_out() -> None:
    """The sweep itself ends at several of them in a row."""
    flat, bad = [2.0] * 60, [math.nan, math.inf, -math.inf]
    assert not has_diverged(LRS, bad)
    assert not has_diverged(LRS, [*bad, *flat, *bad])
    assert not has_diverged(LRS, [*flat, 3.1, *bad[:1], 2.0])
    assert has_diverged(LRS, [*flat, 3.1, math.nan, 3.1, 3.1])
    assert has_diverged(LRS, [math.nan, *flat, 3.1, 3.1, 3.1])


def test_divergence_of_negative_losses() -> None:
    assert not has_diverged(LRS, [-2.0] * 60 + [-1.1] * 3)
    assert has_diverged(LRS, [-2.0] * 60 + [-0.9] * 3)


@pytest.mark.parametrize(
    ("lrs", "losses", "message"),
    [
        (LRS, LRS[1:], "of one length"),
        (LRS[:9], LRS[:9], "at least 10 points"),
        (-LRS, LRS, "above 0"),
        (LRS[::-1], LRS, "not falling"),
        (np.full(100, np.nan), LRS, "finite"),
    ],
)
def test_bad_curves(lrs: Array, losses: Array, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LRCurve(lrs, losses)


@pytest.mark.parametrize("key", ["lrs", "losses", "monitor", "mode"])
def test_a_dict_without_a_key_is_refused(key: str) -> None:
    """Without its mode, a curve of an accuracy would be read upside down."""
    plain = LRCurve(LRS, LRS, "accuracy", "max").to_dict()
    del plain[key]
    with pytest.raises(ValueError, match=r"plain must be what LRCurve.to_dict gave, with lrs, losses, monitor and"):
        LRCurve.from_dict(plain)


def test_bad_mode() -> None:
    with pytest.raises(ValueError, match="mode must be"):
        LRCurve(LRS, LRS, mode="up")  # type: ignore[arg-type]


def test_repr_is_short() -> None:
    curve = LRCurve(np.logspace(-5, 0, 100), np.ones(100), monitor="accuracy", mode="max")
    assert repr(curve) == "LRCurve(100 points, lr 1e-05 to 1, monitor='accuracy', mode='max')"


@pytest.mark.parametrize("text", ["", '{"lrs": [1', "lr,loss\n0.1", "lr,loss\n0.1,x"])
def test_a_file_that_was_cut_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "curve"
    path.write_text(text)
    for read in (LRCurve.from_csv, LRCurve.from_json):
        with pytest.raises(ValueError, match=r"^path must be a file that LRCurve.to_(csv|json) wrote, got .*curve: .*"):
            read(path)
