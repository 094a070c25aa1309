"""States in checkpoints: those of earlier versions load and go on, broken and foreign ones are one sentence.

``tests/data/callback_states_<version>.pt`` has the states that a version saved, see `tests.helpers.saved_states`. The
file of a version never changes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lightning_lr import CyclicalLR, HypergradientLR, LRRangeTest, LRSearch, OneCycleLR, WarmupStableDecayLR
from lightning_lr.adaptation.rules import RuleName
from lightning_lr.callbacks._saved_state import STATE_VERSION
from tests.helpers.lr_finder_runs import found
from tests.helpers.saved_states import DATA, PHASES, AllLRs, Phase, run
from tests.helpers.tiny_models import Classifier, quiet_trainer

pytestmark = [
    pytest.mark.filterwarnings("ignore:LR(RangeTest|Search) is not confident"),
    pytest.mark.filterwarnings("ignore:HypergradientLR. .* steps on its own loss"),
    pytest.mark.filterwarnings("ignore:.*lr_scheduler.step.*before.*optimizer.step.*"),
    pytest.mark.filterwarnings("ignore:HypergradientLR. training with SGD has diverged"),
    pytest.mark.filterwarnings("ignore:Attribute 'factor' removed from hparams"),
]

VERSIONS = {path.stem.removeprefix("callback_states_"): path for path in sorted(DATA.glob("callback_states_*.pt"))}


@cache
def states(version: str) -> dict[str, Any]:
    """The states of all phases, by the key of their callback."""
    loaded: dict[str, Any] = torch.load(VERSIONS[version], weights_only=True)
    return loaded


def checkpoint_with(name: str, version: str, folder: Path) -> tuple[Path, AllLRs]:
    """A checkpoint of the phase with the states of a version, and the learning rates of the run that went on."""
    path = folder / "on_exception.ckpt"
    _, used = run(PHASES[name], folder, stops=True)
    saved = torch.load(path, weights_only=True)
    saved["callbacks"] = copy.deepcopy(states(version)[name])
    torch.save(saved, path)
    return path, used


def learned_lrs(name: str, version: str) -> list[float] | None:
    """The learning rates in the last step before the state was saved, if the default rule has adapted them."""
    for key, state in states(version)[name].items():
        if "HypergradientLR" in key and state["arguments"]["rule"] == "long_horizon" and state["arguments"]["adapt"]:
            return [lr for each in state["progress"] for lr, _ in each["adaptation"]["used"]]
    return None


# Where the version took training to have learned some steps before this one does, it rose more slowly meanwhile. The
# largest differences are 0.11, 0.12 and 0.29.
SEES_LEARNING_LATER = {
    ("HypergradientLR on its way up", "0.1.0"): 0.15,
    ("HypergradientLR after a return", "0.1.0"): 0.15,
    ("HypergradientLR on cycles", "0.1.0"): 0.32,
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", [name for name, phase in PHASES.items() if not phase.interrupted])
def test_a_run_goes_on_from_an_earlier_state(name: str, version: str, tmp_path: Path) -> None:
    path, whole = checkpoint_with(name, version, tmp_path)
    _, resumed = run(PHASES[name], tmp_path, ckpt_path=path)
    assert resumed.lrs.keys() == {step for step in whole.lrs if step > min(resumed.lrs) - 1}
    assert len(resumed.lrs) < len(whole.lrs)
    first = min(resumed.lrs)
    learned = learned_lrs(name, version)
    # The default rule of an earlier version has learned other learning rates until then. They are kept.
    ratio = 1.0 if learned is None else np.array(learned) / whole.lrs[first - 1]
    # What is learned of a noisy training differs a little from machine to machine, and from rule to rule.
    tolerance = 0.02 if learned is None else SEES_LEARNING_LATER.get((name, version), 0.1)
    for step, rates in resumed.lrs.items():
        assert rates == pytest.approx(ratio * np.array(whole.lrs[step]), rel=tolerance), step


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", [name for name, phase in PHASES.items() if phase.interrupted])
def test_a_search_goes_on_from_an_earlier_state(name: str, version: str, tmp_path: Path) -> None:
    path, _ = checkpoint_with(name, version, tmp_path)
    trainer, _ = run(PHASES[name], tmp_path, ckpt_path=path)
    (finder,) = (each for each in vars(trainer)["callbacks"] if isinstance(each, (LRRangeTest, LRSearch)))
    assert found(finder).candidates
    search = states(version)[name][finder.state_key]["search"]
    told = search["bracket"]["told"] if search is not None else []
    now = finder.state_dict()["search"]["bracket"]["told"][: len(told)]
    assert [each["values"] for each in now] == [each["values"] for each in told]
    assert [each["lr"] for each in now] == pytest.approx([each["lr"] for each in told])


CALLBACKS: dict[str, Callable[[], Any]] = {
    "LRRangeTest": LRRangeTest,
    "LRSearch": LRSearch,
    "CyclicalLR": lambda: CyclicalLR(0.01, 0.1, 5),
    "OneCycleLR": lambda: OneCycleLR(0.1),
    "WarmupStableDecayLR": lambda: WarmupStableDecayLR(0.1, 5, 10),
    "HypergradientLR": HypergradientLR,
}


def a_state(callback: str) -> dict[str, Any]:
    """A state with as many fields as there are."""
    names = {
        "LRRangeTest": "LRRangeTest, done",
        "LRSearch": "LRSearch, done",
        "CyclicalLR": "CyclicalLR on the way down, with all else",
        "OneCycleLR": "OneCycleLR on the way down",
        "WarmupStableDecayLR": "WarmupStableDecayLR, stable",
        "HypergradientLR": "HypergradientLR after a return",
    }
    of_all = states(next(iter(VERSIONS)))[names[callback]]
    return copy.deepcopy(next(state for key, state in of_all.items() if key.startswith(callback)))


def places(state: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of each value in a state, the first three entries of a list only. Saved arguments are compared only."""
    for key in state if isinstance(state, dict) else range(min(3, len(state))):
        if key not in ("arguments", "schedule"):
            yield (*path, key)
            if isinstance(state[key], (dict, list, tuple)):
                yield from places(state[key], (*path, key))


def at(state: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        state = state[key]
    return state


def replaced(state: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy of a state with another value at one place."""
    first, *rest = path
    new = dict(state) if isinstance(state, dict) else list(state)
    new[first] = replaced(state[first], tuple(rest), value) if rest else value
    return new


def load(callback: str, state: Any) -> str:
    """Load a state. If it is refused, the callback must be as before."""
    new = CALLBACKS[callback]()
    before = repr(new.state_dict())
    try:
        new.load_state_dict(state)
    except ValueError as error:
        assert repr(new.state_dict()) == before
        return str(error)
    return ""


@pytest.mark.filterwarnings("ignore:.* is resumed with changed arguments")
@pytest.mark.parametrize("callback", CALLBACKS)
def test_missing_and_unknown_fields(callback: str) -> None:
    state = a_state(callback)
    assert load(callback, state) == ""
    assert load(callback, {**state, "later": 1}) == ""
    for key in state:
        said = load(callback, {name: value for name, value in state.items() if name != key})
        assert ("progress is missing" in said) if key == "progress" else said == ""  # without it a run began anew
    assert ("progress is missing" in load(callback, {})) == ("progress" in state)


@pytest.mark.parametrize("key", ["lr", "weight_decay"])
def test_a_parameter_group_without_a_ratio_is_refused(key: str) -> None:
    state = a_state("CyclicalLR")
    state["progress"]["groups"][key] = [[]]
    assert f"progress.groups.{key} must have a number for each group, [1], got [[]]" in load("CyclicalLR", state)


@pytest.mark.filterwarnings("ignore:.* is resumed with changed arguments")
@pytest.mark.parametrize("callback", CALLBACKS)
@pytest.mark.parametrize(
    "wrong", ["text", b"x", object(), {"a": {}}, 1j], ids=["text", "bytes", "object", "dict", "complex"]
)
def test_a_wrong_value_anywhere_is_one_sentence(callback: str, wrong: Any) -> None:
    state = a_state(callback)
    for path in places(state):
        if isinstance(at(state, path), type(wrong)):
            continue
        said = load(callback, replaced(state, path, wrong))
        assert said.startswith(f"{callback} cannot use its state in the checkpoint: "), path
        assert said.endswith("to begin anew.")
        assert "\n" not in said


@pytest.mark.parametrize("callback", CALLBACKS)
@pytest.mark.parametrize("other", CALLBACKS)
def test_the_state_of_another_callback_is_refused(callback: str, other: str) -> None:
    if callback != other:
        assert f"it is of '{other}'" in load(callback, CALLBACKS[other]().state_dict())


@pytest.mark.parametrize("state", [None, 5, [], "state"])
def test_what_is_no_state_is_refused(state: Any) -> None:
    assert "it must be a dict" in load("CyclicalLR", state)


def test_a_state_of_a_newer_version_is_refused() -> None:
    state = {**LRSearch().state_dict(), "version": STATE_VERSION + 1}
    assert f"version {STATE_VERSION + 1}, this lightning_lr reads up to {STATE_VERSION}: update it" in load(
        "LRSearch", state
    )


def test_a_subclass_saves_the_name_of_its_base() -> None:
    class Mine(CyclicalLR):
        """A user's own."""

    state = Mine(0.01, 0.1).state_dict()
    assert state["callback"] == "CyclicalLR"
    Mine(0.01, 0.1).load_state_dict(state)


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        (torch.zeros(3), r"a vector of progress\[0\] has 3 numbers for parameter 0, which has 96"),
        (torch.zeros(96, dtype=torch.int64), r"means\[0\] must be a tensor of floating-point numbers, got a tensor of"),
        ("x", r"means\[0\] must be a tensor of floating-point numbers, got str"),
    ],
    ids=["shape", "type of numbers", "text"],
)
def test_a_vector_that_does_not_fit_ends_the_fit_at_its_start(vector: Any, message: str, tmp_path: Path) -> None:
    name = "HypergradientLR on its way up"
    path, _ = checkpoint_with(name, next(iter(VERSIONS)), tmp_path)
    saved = torch.load(path, weights_only=True)
    saved["callbacks"]["HypergradientLR"]["progress"][0]["adaptation"]["movement"]["means"][0] = vector
    torch.save(saved, path)
    with pytest.raises(ValueError, match=message) as error:
        run(PHASES[name], tmp_path, ckpt_path=path)
    assert "\n" not in str(error.value)


class ComplexClassifier(Classifier):
    """Has a complex parameter, which the loss pulls to 0."""

    def __init__(self, momentum: float) -> None:
        super().__init__(momentum=momentum)
        self.backbone[3] = torch.nn.Identity()
        self.pulled = torch.nn.Parameter(torch.full((4,), 0.5 + 0.5j))

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
        return super().training_step(batch, batch_idx) + self.pulled.abs().square().sum()


@pytest.mark.parametrize(
    ("rule", "momentum"), [("long_horizon", 0.9), ("multiplicative", 0.0)], ids=["means", "gradients"]
)
def test_complex_parameters_go_on(rule: RuleName, momentum: float, tmp_path: Path) -> None:
    torch.manual_seed(0)
    first = ComplexClassifier(momentum)
    phase = Phase(lambda: [HypergradientLR(rule)], 20, lambda: copy.deepcopy(first))
    _, whole = run(phase, tmp_path, stops=True)
    _, resumed = run(phase, tmp_path, ckpt_path=tmp_path / "on_exception.ckpt")
    assert resumed.lrs == {step: rates for step, rates in whole.lrs.items() if step > 20}


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9, 0.999])
def test_a_checkpoint_that_was_cut_ends_the_fit_before_anything_is_loaded(share: float, tmp_path: Path) -> None:
    whole = tmp_path / "whole.ckpt"
    _, _ = run(PHASES["CyclicalLR on the way up"], tmp_path, stops=True)
    data = (tmp_path / "on_exception.ckpt").read_bytes()
    whole.write_bytes(data[: int(share * len(data))])
    cycle, model = CyclicalLR(0.01, 0.1, 5), PHASES["CyclicalLR on the way up"].model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = cycle.state_dict()
    with pytest.raises((RuntimeError, EOFError, OSError)):  # torch's own
        quiet_trainer(callbacks=[cycle]).fit(model, ckpt_path=str(whole))
    assert cycle.state_dict() == state
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
