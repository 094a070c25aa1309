"""The form in which the values of the adaptation are logged."""

from __future__ import annotations

import math

import pytest

from lightning_lr.callbacks import _adaptation_trace


def test_the_scale_as_its_logarithm_and_bad_measurements_only_if_there_are_any(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "hypergradient/alignment/SGD": 0.0,
        "hypergradient/scale/SGD": 1e-3,
        "hypergradient/scale/Adam/pg1": 0.0,  # below the smallest number
        "hypergradient/not_finite/SGD": 0,
        "hypergradient/not_finite/Adam": 2,
    }
    monkeypatch.setattr(_adaptation_trace, "logged_values", lambda _: values)
    assert _adaptation_trace.values_to_log([]) == {
        "hypergradient/alignment/SGD": 0.0,
        "hypergradient/log10_scale/SGD": pytest.approx(-3.0),
        "hypergradient/log10_scale/Adam/pg1": -math.inf,
        "hypergradient/not_finite/Adam": 2,
    }
