"""Every public argument takes the right values, and refuses each wrong one by one sentence."""

from __future__ import annotations

import inspect
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lightning_lr import CyclicalLR, HypergradientLR, LRCurve, LRRangeTest, LRSearch, OneCycleLR, ensemble
from lightning_lr.range_test import sweep_lrs
from lightning_lr.schedules import Cyclical, WarmupStableDecay
from lightning_lr.search import Bracket
from tests.helpers import argument_calls, argument_calls_of_packages
from tests.helpers.argument_calls_of_packages import UNCHECKED
from tests.helpers.argument_values import VALUES, Call
from tests.helpers.public_interface import public_signatures
from tests.helpers.tiny_models import Classifier

CALLS = argument_calls.CALLS | argument_calls_of_packages.CALLS


def outcome(call: Call, argument: str, value: Any) -> str:
    """ "taken", "refused", or what is wrong with the error."""
    try:
        call.function(**{**call.given, argument: value})
    except FileNotFoundError:
        return "taken"  # the file of the table does not exist
    except Exception as error:
        text = str(error)
        is_sentence = re.fullmatch(rf"(?s).*\b{argument}\b.*(got|with|gives?|for) .*\.", text) and "\n" not in text
        is_ours = type(error) in (ValueError, TypeError)
        return "refused" if is_ours and is_sentence else f"{type(error).__name__}: {text}"
    return "taken"


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_public_argument_is_in_the_table() -> None:
    """A new argument needs a kind, and a new function a row, or a reason in ``UNCHECKED``."""
    found = {
        name: {each.split("=")[0] for each in arguments if not each.startswith("**")}
        for name, arguments in public_signatures().items()
        if arguments and not arguments[0].startswith(("(", "'"))  # constants, properties, second names and Literals
    }
    assert found.keys() == CALLS.keys() | UNCHECKED.keys()
    assert {name: call.kinds.keys() for name, call in CALLS.items()} == {name: found[name] for name in CALLS}


@pytest.mark.parametrize("name", CALLS)
def test_every_argument_has_a_rule(name: str) -> None:
    """Else a value that was not thought of here would pass."""
    call = CALLS[name]
    target: Any = vars(call.function)["__init__"] if isinstance(call.function, type) else call.function
    assert set(call.kinds) <= set(target.argument_rules)
    assert set(target.argument_rules) <= set(inspect.signature(target).parameters)


@pytest.mark.parametrize("name", CALLS)
def test_wrong_values_are_refused_and_right_ones_taken(name: str) -> None:
    call, wrong = CALLS[name], []
    for argument in call.kinds:
        if call.kinds[argument] == "anything":
            continue
        for label, value in VALUES.items():
            said = outcome(call, argument, value)
            # a right value may still not fit the others
            if said not in (("taken", "refused") if label in call.takes(argument) else ("refused",)):
                wrong.append(f"{argument}={label}: {said}")
    assert wrong == []


RIGHT: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "numbers of NumPy": (LRRangeTest, {"min_lr": np.float64(1e-4), "max_lr": np.float32(1), "num_steps": np.int64(40)}),
    "whole floats": (LRSearch, {"budget": 2000.0, "steps_per_eval": 10.0}),
    "bounds": (CyclicalLR, {"base_lr": np.float32(0.1), "max_lr": [0.2], "momentum": [0.8, 0.9]}),
    "lists of NumPy": (LRRangeTest, {"lrs": np.geomspace(1e-5, 1, 20), "at_epochs": np.array([0, 2])}),
    "lengths": (HypergradientLR, {"horizon": "0.5run", "freeze_after": np.int64(5), "decay": "auto", "every": "auto"}),
    "paths": (LRSearch, {"output_dir": Path("found"), "limit_batches": 0.5}),
}


@pytest.mark.parametrize("case", RIGHT)
def test_right_values(case: str) -> None:
    callback, arguments = RIGHT[case]
    state = callback(**arguments).state_dict()
    assert torch.load(io.BytesIO(saved(state)), weights_only=True) == state


def saved(state: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


TOGETHER: dict[str, tuple[Callable[[], Any], str]] = {
    "range": (lambda: LRRangeTest(1.0, 0.1), "max_lr must be above min_lr=1.0, got 0.1"),
    "equal": (lambda: LRSearch(1.0, 1.0), "max_lr must be above min_lr=1.0, got 1.0"),
    "bracket": (lambda: Bracket(1.0, 0.1), "max_lr must be above min_lr=1.0, got 0.1"),
    "sweep": (lambda: sweep_lrs(1.0, 0.1, 10), "max_lr must be above min_lr=1.0, got 0.1"),
    "stairs": (lambda: LRRangeTest(num_steps=30, steps_per_lr=10), "num_steps must give at least 10"),
    "budget": (lambda: LRSearch(budget=10), "budget must be at least 760 optimizer steps"),
    "one bound": (lambda: CyclicalLR(0.1), "base_lr and max_lr must both be given"),
    "bounds": (lambda: CyclicalLR(0.2, 0.1), "base_lr must not be above max_lr"),
    "bounds of groups": (lambda: CyclicalLR([0.1, 0.3], [0.2, 0.2]), "base_lr must not be above max_lr"),
    "no peak": (lambda: OneCycleLR(max_lr=0), "max_lr must be above 0 for every group, got 0"),
    "mode of a metric": (lambda: LRRangeTest(mode="max"), "got 'max': give it as monitor_mode"),  # type: ignore[arg-type]
    "groups": (lambda: CyclicalLR({"a": 0.1}, {"b": 0.2}), "for the same groups"),
    "no gamma": (lambda: CyclicalLR(mode="exp_range"), "needs one of gamma and decay"),
    "shrinking": (lambda: CyclicalLR(cycle_mult=0.5), "give num_cycles too"),
    "growing": (
        lambda: Cyclical(2, 2, cycle_mult=2.0, num_cycles=5000),
        "num_cycles must be at most 40 with",
    ),
    "scale": (lambda: CyclicalLR(scale_fn="builtins.len"), "scale_fn must give a finite number"),
    "three phases": (lambda: OneCycleLR(pct_start=0.6, three_phase=True), "pct_start must be at most 0.5"),
    "peaks": (lambda: OneCycleLR(max_lr=[0.1, -1.0]), "max_lr must be finite and at least 0"),
    "fall": (lambda: WarmupStableDecay(5, 5, 8), "warmup and decay must fit into the run"),
    "limits": (lambda: HypergradientLR(min_lr=0.1, max_lr=0.01), "min_lr must be at most max_lr=0.01, got 0.1"),
    "beta": (lambda: HypergradientLR(beta=0.1), "the other rules take beta"),
    "no beta": (lambda: HypergradientLR("additive"), "needs beta, got None"),
    "decay": (lambda: HypergradientLR("multiplicative", decay=5), "takes decay"),
    "shapes": (lambda: LRCurve(np.ones(12), np.ones(11)), "lrs and losses must be of one length"),
    "falling": (lambda: LRCurve(np.arange(12, 0, -1), np.ones(12)), "lrs must be finite, above 0 and not falling"),
    "activation": (lambda: ensemble(["a"], Classifier, average=True, activation=abs), "leave it out with average=True"),
    "epochs": (lambda: CyclicalLR(0.1, 0.2).preview(10), "steps_per_epoch must be given"),
}


@pytest.mark.parametrize("case", TOGETHER)
def test_values_that_contradict_each_other(case: str) -> None:
    call, message = TOGETHER[case]
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        call()
    assert "\n" not in str(error.value)


def test_the_first_wrong_argument_is_named() -> None:
    """In the order of the signature, not of a set, which differs from process to process."""
    names = list(inspect.signature(LRRangeTest).parameters)
    for i in range(len(names)):
        with pytest.raises(ValueError, match=rf"^{names[i]} must "):
            LRRangeTest(**dict.fromkeys(reversed(names[i:]), object()))  # type: ignore[arg-type]


def test_a_path_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^output_dir must be the path of a folder that can be written to, got 'yy"):
        LRSearch(output_dir="y" * 5000)


@pytest.mark.parametrize("folder", ["out/", Path("out")])
def test_a_folder_is_saved_as_it_was_given(folder: str | Path) -> None:
    """A checkpoint of an earlier version holds its text: another text would count as a changed argument."""
    assert LRSearch(output_dir=folder).state_dict()["arguments"]["output_dir"] == str(folder)


def test_too_many_arguments_are_pythons_own_error() -> None:
    with pytest.raises(TypeError, match=r"LRRangeTest.__init__\(\) got an unexpected keyword argument 'steps'"):
        LRRangeTest(steps=10)  # type: ignore[call-arg]
