"""Arguments and callbacks that `LRSearch` refuses, and runs that it skips."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from lightning_lr import LRRangeTest, LRSearch
from tests.helpers.lightning_classes import MisconfigurationException
from tests.helpers.lr_finder_runs import SHORT_SEARCH, fit
from tests.helpers.tiny_models import Classifier

pytestmark = pytest.mark.filterwarnings("ignore:LRSearch is not confident")


def test_two_owners_are_refused() -> None:
    for other in (LRRangeTest(), LRSearch()):
        with pytest.raises(MisconfigurationException, match="would both set the learning rate: leave one of them out"):
            fit(Classifier(), LRSearch(), Keyed(other))
    search = LRSearch(**SHORT_SEARCH)
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
    "half a step": ({"monitor": "x", "steps_per_eval": 2.5}, "steps_per_eval must be a whole number .* got 2.5"),
    "words for steps": ({"steps_per_eval": "many"}, "steps_per_eval must be a whole number .* got 'many'"),
    "words for a budget": ({"budget": "all"}, "budget must be a whole number of at least 1, got 'all'"),
    "half a budget": ({"budget": 2000.5}, "budget must be a whole number of at least 1, got 2000.5"),
    "no rate": ({"min_lr": None}, "min_lr must be a number, got None"),
    "a rate that is not a number": ({"min_lr": float("nan")}, "min_lr must be finite and above 0, got nan"),
    "monitor as number": ({"monitor": 5}, "monitor must .* got 5"),
    "a file": ({"output_dir": __file__}, "output_dir"),
}


@pytest.mark.parametrize("case", BAD_ARGUMENTS)
def test_bad_arguments_are_refused_by_name_and_value(case: str) -> None:
    arguments, name = BAD_ARGUMENTS[case]
    with pytest.raises(ValueError, match=name) as error:
        LRSearch(**arguments)
    assert "\n" not in str(error.value)


def test_whole_numbers_of_other_types_are_taken() -> None:
    LRSearch(1e-3, 1.0, budget=np.int64(2000), steps_per_eval=10.0)  # type: ignore[arg-type]
