"""The adaptation of an optimizer, step by step, without a Trainer."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from lightning_lr.adaptation.controller import Adaptation
from lightning_lr.adaptation.rules import Alignment, LongHorizon, Multiplicative, Situation

CONSTANT = Situation()


def _step(optimizer: torch.optim.Optimizer, adaptation: Adaptation, gradients: list[float | None]) -> list[list[float]]:
    """One step with constant gradients; gives what was measured before it."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = None if gradient is None else torch.full_like(parameter, gradient)
    adaptation.before_step()
    measured = [sums.tolist() for sums, _ in adaptation.measured()]
    if all(gradient is None or math.isfinite(gradient) for gradient in gradients):  # else the scaler leaves it out
        optimizer.step()
        adaptation.after_step()
    return measured


def _adapt(optimizer: torch.optim.Optimizer, adaptation: Adaptation, gradient: float) -> None:
    """One step with a constant gradient, and what follows from what was measured before it."""
    for parameter in optimizer.param_groups[0]["params"]:
        parameter.grad = torch.full_like(parameter, gradient)
    adaptation.before_step()
    for sums, beside in adaptation.measured():
        adaptation.decide(sums.tolist(), beside)
    optimizer.step()
    adaptation.after_step()


def test_each_group_of_its_own_has_a_short_first_step() -> None:
    """Even if it is not made together with the others."""
    pair = [nn.Parameter(torch.ones(4)), nn.Parameter(torch.ones(4))]
    optimizer = torch.optim.SGD([{"params": [parameter]} for parameter in pair], 10.0)
    adaptation = Adaptation(optimizer, LongHorizon, 20, per_group=True)
    _step(optimizer, adaptation, [1.0, None])
    assert pair[0].tolist() == pytest.approx([1 - 1e-3] * 4)
    _step(optimizer, adaptation, [1.0, 1.0])
    assert pair[1].tolist() == pytest.approx([1 - 1e-3] * 4)


@pytest.mark.parametrize("rule", ["long", "short"])
def test_steps_that_are_left_out_change_nothing_but_their_count(rule: str) -> None:
    """As a GradScaler leaves them out where gradients have overflown, if only those of one parameter."""
    states = []
    for bad in (0, 3):
        torch.manual_seed(0)
        pair = [nn.Parameter(torch.randn(4)), nn.Parameter(torch.randn(3, 1).double())]  # a piece each
        optimizer = torch.optim.RMSprop(pair, 0.01)
        make, horizon = (LongHorizon, 20) if rule == "long" else (lambda: Multiplicative(0.1), None)
        adaptation = Adaptation(optimizer, make, horizon)
        for _ in range(4):
            _step(optimizer, adaptation, [1.0, -1.0])
        for _ in range(bad):
            assert not math.isfinite(_step(optimizer, adaptation, [math.inf, 1.0])[0][1])
        states.append(_step(optimizer, adaptation, [1.0, 1.0]))
    assert states[0] == states[1]


def test_steps_too_short_to_be_seen_are_too_short() -> None:
    parameter = nn.Parameter(torch.ones(4))
    optimizer = torch.optim.SGD([parameter], 1e-12)
    adaptation = Adaptation(optimizer, LongHorizon, 20)
    for _ in range(300):
        if parameter.max() < 1:
            break
        _adapt(optimizer, adaptation, 1.0)
    assert 1e-8 < optimizer.param_groups[0]["lr"] < 1e-6
    assert parameter.max() < 1


def test_no_gradient_says_nothing_of_the_rate() -> None:
    parameter = nn.Parameter(torch.ones(4))
    optimizer = torch.optim.SGD([parameter], 0.01, momentum=0.9)
    adaptation = Adaptation(optimizer, LongHorizon, 20, every=1)
    scales = []
    for step in range(40):
        _adapt(optimizer, adaptation, float(step < 20))
        scales.append(adaptation.units[0].rule.scale)
    assert scales[19] > scales[10]
    assert set(scales[20:]) == {scales[19]}


def test_a_group_that_has_just_come_goes_back_with_the_others() -> None:
    """It has no mean yet, so it stays where it is."""
    old, new = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([old], 0.01)
    adaptation = Adaptation(optimizer, LongHorizon, 20, every=5)
    for _ in range(3):
        _step(optimizer, adaptation, [1.0])
    optimizer.add_param_group({"params": [new]})
    _step(optimizer, adaptation, [1.0, 1.0])
    moved = new.tolist()
    adaptation.go_back()
    assert old.tolist() == [1.0, 1.0]
    assert new.tolist() == moved


def test_a_rate_that_led_astray_is_not_tried_again() -> None:
    """Nor is half of it, and a checkpoint knows."""

    def build() -> Adaptation:
        return Adaptation(torch.optim.SGD([nn.Parameter(torch.ones(2))], 1e-6), LongHorizon, 20)

    def descend(adaptation: Adaptation, steps: int) -> float:
        """Along a slope, where the scale rises without end."""
        for _ in range(steps):
            for row in _step(adaptation.optimizer, adaptation, [1.0]):
                adaptation.decide(row, {"used": [(1e-6, 1.0)], "steps": 1})
        return adaptation.units[0].rule.scale

    adaptation = build()
    led_astray = descend(adaptation, 20)
    assert led_astray > 3
    adaptation.go_back()
    assert adaptation.units[0].rule.scale == 0.3 * led_astray
    assert descend(adaptation, 40) == pytest.approx(0.5 * led_astray)
    adaptation.go_back(rate_is_to_blame=False)  # a bad batch: it comes back to where it was
    assert descend(adaptation, 40) == pytest.approx(0.5 * led_astray)
    resumed = build()
    resumed.load_units(adaptation.state(with_vectors=False))
    assert descend(resumed, 20) == pytest.approx(0.5 * led_astray)


def _go_on(adaptation: Adaptation, steps: int) -> None:
    """Along a slope, where the scale rises without end."""
    for _ in range(steps):
        adaptation.write()
        _adapt(adaptation.optimizer, adaptation, 1.0)


def test_a_rate_that_led_astray_is_not_tried_again_when_a_schedule_is_back_at_it() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(2))], 1e-6)
    adaptation, group = Adaptation(optimizer, LongHorizon, 20, every=1), optimizer.param_groups[0]
    _go_on(adaptation, 20)
    astray = group["lr"]
    turns = adaptation.units[0].rule.turns
    adaptation.go_back()
    assert adaptation.units[0].rule == LongHorizon(
        0.3 * astray / 1e-6, turns + 3
    )  # its noise was that of the way astray
    group["lr"] = 1e-8
    _go_on(adaptation, 100)
    assert group["lr"] == pytest.approx(0.5 * astray, rel=0.2)
    group["lr"] = 1e-6  # a warm restart
    adaptation.before_step()
    assert group["lr"] == pytest.approx(0.5 * astray, rel=0.2)


def test_a_schedule_goes_no_faster_beyond_what_training_has_stood_than_the_rule_may() -> None:
    """As a warm-up would, and a warm restart at which the scale is higher than at the one before."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(2))], 1e-6)
    adaptation, group, rates = Adaptation(optimizer, LongHorizon, 20, every=1), optimizer.param_groups[0], []
    for own in (1e-6, 1e-6, 2e-6, 4e-6, 8e-6, 1e-8, 1e-8, 1e-8, 1e-5):
        group["lr"] = own
        _adapt(optimizer, adaptation, -1.0 if own == 1e-8 else 0.0)
        rates.append(group["lr"])
    assert rates[:5] == pytest.approx([1e-6, *[1e-6 * math.exp(0.1 * i) for i in (0, 1, 2, 3)]])
    assert rates[8] <= 1e-6 * math.exp(0.4 + 1e-6)


def test_the_mean_stays_where_iterates_are_not_trusted() -> None:
    ends = []
    for trusted, not_trusted in ((10, 0), (10, 10), (20, 0)):
        parameter = nn.Parameter(torch.ones(2))
        optimizer = torch.optim.SGD([parameter], 0.01)
        adaptation = Adaptation(optimizer, LongHorizon, 20, every=1)
        for step in range(trusted + not_trusted):
            adaptation.holds_mean = step >= trusted
            _adapt(optimizer, adaptation, 1.0)
        adaptation.go_back()
        assert not adaptation.holds_mean
        ends.append(parameter.tolist())
    assert ends[0] == ends[1] > ends[2]


def test_a_rate_of_zero_is_not_to_blame() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(2))], 0.0)
    adaptation = Adaptation(optimizer, LongHorizon, 20, every=1)
    _go_on(adaptation, 3)
    adaptation.go_back()
    assert adaptation.units[0].ceiling == math.inf


@pytest.mark.parametrize("per_group", [False, True])
def test_what_is_known_of_rates_holds_for_a_group_that_comes_later(per_group: bool) -> None:
    """With a rate a hundred times as high, which has not led astray, nor is it a schedule."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(2))], 1e-6)
    adaptation = Adaptation(optimizer, LongHorizon, 20, per_group=per_group, every=1)
    _go_on(adaptation, 20)
    adaptation.go_back()
    _go_on(adaptation, 30)
    before = optimizer.param_groups[0]["lr"]
    optimizer.add_param_group({"params": [nn.Parameter(torch.ones(2))], "lr": 100 * before})
    adaptation.write()
    old, new = (group["lr"] for group in optimizer.param_groups)
    assert old == pytest.approx(before)
    assert new == pytest.approx(100 * before)
    _go_on(adaptation, 3)
    assert all(unit.steady == math.inf for unit in adaptation.units)


def test_a_restart_is_no_schedule() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(2))], 1e-6)
    adaptation = Adaptation(optimizer, LongHorizon, 20, every=1)
    _go_on(adaptation, 10)
    optimizer.param_groups[0]["lr"] = 1e-3  # found by a range test
    adaptation.restart()
    _go_on(adaptation, 5)
    assert adaptation.units[0].steady == math.inf


@pytest.mark.parametrize("as_tensor", [False, True], ids=["float", "tensor"])
@pytest.mark.parametrize("resumes", [False, True])
def test_a_schedule_is_one_for_a_horizon_after_it_has_moved(resumes: bool, as_tensor: bool) -> None:
    asked = []

    class Asked(LongHorizon):
        def update(self, alignment: Alignment, rate: float, steps: int, situation: Situation = CONSTANT) -> None:
            asked.append(situation.schedule)
            super().update(alignment, rate, steps, situation)

    parameter = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([parameter], torch.tensor(1e-6) if as_tensor else 1e-6, foreach=False)
    group, rates = optimizer.param_groups[0], {3: 3e-6, 4: 2e-6}
    adaptation = Adaptation(optimizer, Asked, 4)
    for step in range(12):
        if step in rates:
            group["lr"] = torch.tensor(rates[step]) if as_tensor else rates[step]
        elif step in (1, 7) and as_tensor:
            group["lr"].copy_(group["lr"].clone())  # as a rehearsal puts it back
        _adapt(optimizer, adaptation, 1.0)
        if step == 5 and resumes:
            state = adaptation.state(with_vectors=True)
            adaptation = Adaptation(optimizer, Asked, 4)
            adaptation.load_state(state)
    # the first step has no way behind it; the rate of a step is seen with the next one
    assert asked == [0] * 3 + [1] + [-1] * 4 + [0] * 3


def test_sums_stay_on_the_device() -> None:
    """Of the parameters, even where nothing has moved: other processes sum theirs there."""
    parameters = [nn.Parameter(torch.ones(3, device="meta")), nn.Parameter(torch.ones(2, device="meta"))]
    parameters[0].requires_grad_(False)
    optimizer = torch.optim.SGD([{"params": [parameter]} for parameter in parameters], 0.1)
    adaptation = Adaptation(optimizer, LongHorizon, 20, per_group=True, adapts=False, every=1)
    for _ in range(2):
        parameters[1].grad = torch.ones_like(parameters[1])
        adaptation.before_step()
        assert [sums.device.type for sums, _ in adaptation.measured()] == ["meta"]
        optimizer.step()
        adaptation.after_step()


def test_holds_one_copy_of_the_parameters_after_a_resume_too() -> None:
    parameter = nn.Parameter(torch.ones(1000))
    optimizer = torch.optim.SGD([parameter], 0.01)
    adaptation = Adaptation(optimizer, LongHorizon, 20)
    _step(optimizer, adaptation, [1.0])
    state = adaptation.state(with_vectors=True)
    resumed = Adaptation(optimizer, LongHorizon, 20)
    resumed.load_state(state)
    assert resumed._mean is not None
    held = [value for value in vars(resumed._mean).values() if isinstance(value, dict)]
    assert sum(tensor.numel() for each in held for tensor in each.values()) <= 1001
