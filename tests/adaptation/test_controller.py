"""The controller of an optimizer, step by step, without a Trainer."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from lightning_lr.adaptation.controller import LRController
from lightning_lr.adaptation.decay import FinalDecay
from lightning_lr.adaptation.measurement import Measurement, UsedLR
from lightning_lr.adaptation.rules import LongHorizon, Multiplicative
from lightning_lr.adaptation.scaled_group import ScaledGroup


def _measured(controller: LRController) -> list[Measurement]:
    """What was measured since the last call."""
    measured, controller.measured = controller.measured, []
    return measured


def _step(
    optimizer: torch.optim.Optimizer, controller: LRController, gradients: list[float | None]
) -> list[Measurement]:
    """One step with constant gradients; gives what was measured before it."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = None if gradient is None else torch.full_like(parameter, gradient)
    controller.before_step()
    measured = _measured(controller)
    if all(gradient is None or math.isfinite(gradient) for gradient in gradients):  # else a GradScaler skips the step
        optimizer.step()
        controller.after_step()
    return measured


def _adapt(optimizer: torch.optim.Optimizer, controller: LRController, gradient: float) -> None:
    """One step with a constant gradient, and what follows from what was measured before it."""
    for parameter in optimizer.param_groups[0]["params"]:
        parameter.grad = torch.full_like(parameter, gradient)
    controller.before_step()
    for measured in _measured(controller):
        controller.decide(measured)
        controller.write()
    optimizer.step()
    controller.after_step()


def test_each_scaled_group_has_a_short_first_step() -> None:
    """Even if it comes later than those of the others."""
    pair = [nn.Parameter(torch.ones(4)), nn.Parameter(torch.ones(4))]
    optimizer = torch.optim.SGD([{"params": [parameter]} for parameter in pair], 10.0)
    controller = LRController(optimizer, LongHorizon, 20, per_group=True)
    _step(optimizer, controller, [1.0, None])
    assert pair[0].tolist() == pytest.approx([1 - 1e-3] * 4)
    _step(optimizer, controller, [1.0, 1.0])
    assert pair[1].tolist() == pytest.approx([1 - 1e-3] * 4)


@pytest.mark.parametrize("rule", ["long", "short"])
def test_skipped_steps_change_nothing_but_their_count(rule: str) -> None:
    """A GradScaler skips steps where gradients have overflowed, if only those of one parameter."""
    states = []
    for bad in (0, 3):
        torch.manual_seed(0)
        pair = [nn.Parameter(torch.randn(4)), nn.Parameter(torch.randn(3, 1).double())]  # a vector each
        optimizer = torch.optim.RMSprop(pair, 0.01)
        make, horizon = (LongHorizon, 20) if rule == "long" else (lambda: Multiplicative(0.1), None)
        controller = LRController(optimizer, make, horizon, has_grad_scaler=True)
        for _ in range(4):
            _step(optimizer, controller, [1.0, -1.0])
        for _ in range(bad):
            assert not math.isfinite(_step(optimizer, controller, [math.inf, 1.0])[0].sums[1])
        states.append(_step(optimizer, controller, [1.0, 1.0])[0].sums.tolist())
    assert states[0] == states[1]


@pytest.mark.parametrize("every", [1, 5])
@pytest.mark.parametrize("skipped", [None, 7])
def test_the_decay_is_that_of_each_step(every: int, skipped: int | None) -> None:
    """Also between two measurements, and after a step that a GradScaler has skipped."""
    parameter = nn.Parameter(torch.ones(4))
    optimizer, decay = torch.optim.SGD([parameter], 1e-3), FinalDecay(length=6, run_length=12)
    controller = LRController(
        optimizer, LongHorizon, 20, every=every, decay=decay, has_grad_scaler=True, freeze_after=0
    )
    for step in range(12):
        _step(optimizer, controller, [math.inf if step == skipped else 1.0])
        controller.write_if_due()
        assert optimizer.param_groups[0]["lr"] == pytest.approx(
            1e-3 * controller.groups[0].scale * decay.factor(step + 1)
        )


def test_nothing_trainable_has_no_gradient_that_is_not_finite() -> None:
    parameter = nn.Parameter(torch.ones(0))
    optimizer = torch.optim.SGD([parameter], 0.1)
    controller = LRController(optimizer, LongHorizon, 20, has_grad_scaler=True)
    (measured,) = _step(optimizer, controller, [1.0])
    assert measured.sums.tolist() == [0.0] * 4


def test_steps_too_short_to_be_seen_are_too_short() -> None:
    parameter = nn.Parameter(torch.ones(4))
    optimizer = torch.optim.SGD([parameter], 1e-12)
    controller = LRController(optimizer, LongHorizon, 20)
    for _ in range(500):
        if parameter.max() < 1:
            break
        _adapt(optimizer, controller, 1.0)
    assert 1e-8 < optimizer.param_groups[0]["lr"] < 1e-6
    assert parameter.max() < 1


def test_without_a_gradient_the_scale_stays() -> None:
    parameter = nn.Parameter(torch.ones(4))
    optimizer = torch.optim.SGD([parameter], 0.01, momentum=0.9)
    controller = LRController(optimizer, LongHorizon, 20, every=1)
    scales = []
    for step in range(40):
        _adapt(optimizer, controller, float(step < 20))
        scales.append(controller.groups[0].scale)
    assert scales[19] > scales[10]
    assert set(scales[20:]) == {scales[19]}


def test_a_return_to_the_anchor_with_a_new_group() -> None:
    """It has no anchor yet, so it stays where it is."""
    old, new = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([old], 0.01)
    controller = LRController(optimizer, LongHorizon, 20, every=5)
    for _ in range(3):
        _step(optimizer, controller, [1.0])
    optimizer.add_param_group({"params": [new]})
    _step(optimizer, controller, [1.0, 1.0])
    moved = new.tolist()
    controller.return_to_anchor()
    assert old.tolist() == [1.0, 1.0]
    assert new.tolist() == moved


def test_a_learning_rate_that_diverged_is_not_tried_again() -> None:
    """The learning rate stays below 0.3 of it, after a resume too."""

    def build() -> LRController:
        return LRController(torch.optim.SGD([nn.Parameter(torch.ones(2))], 1e-6), LongHorizon, 20)

    def descend(controller: LRController, steps: int) -> float:
        """Along a slope, where the scale rises without end."""
        for _ in range(steps):
            for measurement in _step(controller.optimizer, controller, [1.0]):
                controller.decide(measurement._replace(used=[UsedLR(1e-6, 1.0)], steps=1))
        return controller.groups[0].scale

    controller = build()
    diverged = descend(controller, 60)
    assert diverged > 3
    controller.return_to_anchor()
    assert controller.groups[0].scale == 0.3 * diverged
    assert descend(controller, 60) == pytest.approx(0.3 * diverged)
    controller.return_to_anchor(lr_is_cause=False)  # a bad batch: the scale comes back
    assert descend(controller, 60) == pytest.approx(0.3 * diverged)
    resumed = build()
    resumed.load_groups(controller.state(with_vectors=False))
    assert descend(resumed, 20) == pytest.approx(0.3 * diverged)


def _descend(controller: LRController, steps: int) -> None:
    """Along a slope, where the scale rises without end."""
    for _ in range(steps):
        controller.write()
        _adapt(controller.optimizer, controller, 1.0)


@pytest.mark.parametrize("rule", ["long", "short", "short, other optimizer"])
def test_groups_that_have_not_moved_have_no_alignment(rule: str) -> None:
    """``d = 0`` of a step that was not made is no step that was too short."""
    pair = [nn.Parameter(torch.ones(4)), nn.Parameter(torch.ones(4))]
    make = torch.optim.RMSprop if "other" in rule else torch.optim.SGD
    optimizer = make([{"params": [parameter]} for parameter in pair], 0.01)
    make_rule, horizon = (LongHorizon, 20) if rule == "long" else (lambda: Multiplicative(0.1), None)
    controller = LRController(optimizer, make_rule, horizon, per_group=True, every=1)
    gradients: list[list[float | None]] = [[1.0, None], [1.0, None], [1.0, 1.0], [1.0, 1.0]]
    seen = []
    for each in gradients:
        for parameter, gradient in zip(pair, each, strict=True):
            parameter.grad = None if gradient is None else torch.full_like(parameter, gradient)
        controller.before_step()
        seen += [controller.decide(measured) for measured in _measured(controller)]
        optimizer.step()
        controller.after_step()
    assert seen == [[False, False], [True, False], [True, False], [True, True]]


def test_a_learning_rate_that_diverged_is_not_used_again_by_a_schedule() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(2))], 1e-6)
    controller, group = LRController(optimizer, LongHorizon, 20, every=1), optimizer.param_groups[0]
    _descend(controller, 20)
    diverged = group["lr"]
    turns = controller.groups[0].rule.sign_changes
    controller.return_to_anchor()
    # a new rule: the mean and the noise of the derivatives were those of the divergence
    assert controller.groups[0].rule == LongHorizon(sign_changes=turns)
    assert controller.groups[0].scale == 0.3 * diverged / 1e-6
    group["lr"] = 1e-8
    _descend(controller, 250)
    assert group["lr"] == pytest.approx(0.3 * diverged, rel=0.2)
    group["lr"] = 1e-6  # a warm restart
    controller.before_step()
    assert group["lr"] == pytest.approx(0.3 * diverged, rel=0.2)


def test_a_schedule_exceeds_the_maximum_so_far_only_as_fast_as_the_rule_may() -> None:
    """Such as a warm-up, or a warm restart where the scale is higher than at the one before."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(2))], 1e-6)
    controller, group, rates = LRController(optimizer, LongHorizon, 20, every=1), optimizer.param_groups[0], []
    for scheduled in (1e-6, 1e-6, 2e-6, 4e-6, 8e-6, 1e-8, 1e-8, 1e-8, 1e-5):
        group["lr"] = scheduled
        _adapt(optimizer, controller, -1.0 if scheduled == 1e-8 else 0.0)
        rates.append(group["lr"])
    assert rates[:5] == pytest.approx([1e-6, *[1e-6 * math.exp(0.1 * i) for i in (0, 1, 2, 3)]])
    assert rates[8] <= 1e-6 * math.exp(0.4 + 1e-6)


def test_the_anchor_stays_while_iterates_are_not_trusted() -> None:
    ends = []
    for trusted, not_trusted in ((10, 0), (10, 10), (20, 0)):
        parameter = nn.Parameter(torch.ones(2))
        optimizer = torch.optim.SGD([parameter], 0.01)
        controller = LRController(optimizer, LongHorizon, 20, every=1)
        for step in range(trusted + not_trusted):
            controller.keeps_anchor = step >= trusted
            _adapt(optimizer, controller, 1.0)
        controller.return_to_anchor()
        assert not controller.keeps_anchor
        ends.append(parameter.tolist())
    assert ends[0] == ends[1] > ends[2]


def test_a_learning_rate_of_zero_is_not_the_cause() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(2))], 0.0)
    controller = LRController(optimizer, LongHorizon, 20, every=1)
    _descend(controller, 3)
    controller.return_to_anchor()
    assert controller.groups[0].lr_ceiling == math.inf


@pytest.mark.parametrize("per_group", [False, True])
def test_limits_of_learning_rates_hold_for_a_group_that_is_added(per_group: bool) -> None:
    """Its learning rate is 100 times as high, which has not diverged and is no move of a schedule."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(2))], 1e-6)
    controller = LRController(optimizer, LongHorizon, 20, per_group=per_group, every=1)
    _descend(controller, 20)
    controller.return_to_anchor()
    _descend(controller, 30)
    before = optimizer.param_groups[0]["lr"]
    optimizer.add_param_group({"params": [nn.Parameter(torch.ones(2))], "lr": 100 * before})
    controller.write()
    old, new = (group["lr"] for group in optimizer.param_groups)
    assert old == pytest.approx(before)
    assert new == pytest.approx(100 * before)
    _descend(controller, 3)
    rates = [group["lr"] for group in optimizer.param_groups]
    assert rates == pytest.approx([before, 100 * before], rel=0.1)  # neither cut, nor as high as what diverged


def test_after_a_restart_the_rate_that_was_found_is_used() -> None:
    """It is known to be good: the first step is not shortened, and the scale is 1."""
    parameter = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([parameter], 1e-6)
    controller = LRController(optimizer, LongHorizon, 20, every=1)
    _descend(controller, 10)
    optimizer.param_groups[0]["lr"] = 0.1  # found by a range test
    controller.restart()
    before = parameter.tolist()
    _descend(controller, 1)
    assert parameter.tolist() == pytest.approx([each - 0.1 for each in before])
    assert controller.groups[0].scale == 1
    assert controller.groups[0].rule == LongHorizon()


def test_sums_stay_on_the_device() -> None:
    """Even if nothing has moved, since other processes sum theirs there."""
    parameters = [nn.Parameter(torch.ones(3, device="meta")), nn.Parameter(torch.ones(2, device="meta"))]
    parameters[0].requires_grad_(False)
    optimizer = torch.optim.SGD([{"params": [parameter]} for parameter in parameters], 0.1)
    controller = LRController(optimizer, LongHorizon, 20, per_group=True, adapts=False, every=1)
    for _ in range(2):
        parameters[1].grad = torch.ones_like(parameters[1])
        controller.before_step()
        (measured,) = _measured(controller)
        assert measured.sums.device.type == "meta"
        optimizer.step()
        controller.after_step()


def test_holds_one_copy_of_the_parameters_after_a_resume_too() -> None:
    parameter = nn.Parameter(torch.ones(1000))
    optimizer = torch.optim.SGD([parameter], 0.01)
    controller = LRController(optimizer, LongHorizon, 20)
    _step(optimizer, controller, [1.0])
    state = controller.state(with_vectors=True)
    resumed = LRController(optimizer, LongHorizon, 20)
    resumed.load_state(state)
    assert resumed._anchor is not None
    held = [value for value in vars(resumed._anchor).values() if isinstance(value, dict)]
    assert sum(tensor.numel() for each in held for tensor in each.values()) <= 1001


def test_an_overshoot_is_known_after_a_resume() -> None:
    saved, resumed = ScaledGroup(LongHorizon(has_overshot=True)), ScaledGroup(LongHorizon())
    resumed.load_state(saved.state())
    assert resumed.rule == saved.rule
    older = saved.state()
    del older["rule"]["overshot"]
    resumed = ScaledGroup(LongHorizon())
    resumed.load_state(older)
    assert resumed.rule == LongHorizon()
