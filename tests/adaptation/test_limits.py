"""Limits of the learning rate and of the adaptation, step by step, without a Trainer."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from lightning_lr.adaptation.adapted_optimizer import AdaptedOptimizer
from lightning_lr.adaptation.controller import LRController
from lightning_lr.adaptation.optimizer_scales import limited_scale
from lightning_lr.adaptation.rules import Alignment, LongHorizon, LossState, Multiplicative
from lightning_lr.adaptation.scaled_group import ScaledGroup
from lightning_lr.adaptation.separate_losses import limit_players


def _build(lr: float = 1e-4, **arguments: Any) -> LRController:
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(100))], lr)
    return LRController(optimizer, LongHorizon, 20, every=1, **arguments)


def _parameters(controller: LRController) -> list[torch.Tensor]:
    return [parameter for group in controller.optimizer.param_groups for parameter in group["params"]]


def _steps(controller: LRController, steps: int, gradient: float = 1.0, schedule: Any = None) -> list[float]:
    """The learning rates of some steps along a slope, where the scale rises without end, or swings between two walls.

    Args:
        controller: of the optimizer.
        steps: their number.
        gradient: if it is negative it changes its sign at every step, so that the scale falls.
        schedule: function of the step that gives the scheduled learning rate.
    """
    rates, group = [], controller.optimizer.param_groups[0]
    for step in range(steps):
        if schedule is not None:
            group["lr"] = schedule(step)
            controller.write()
        for each in controller.optimizer.param_groups:
            for parameter in each["params"]:
                sign = 1 if gradient > 0 else (-1) ** step
                parameter.grad = torch.full_like(parameter, abs(gradient) * sign)
        controller.before_step()
        rates.append(max(each["lr"] for each in controller.optimizer.param_groups))
        controller.optimizer.step()
        controller.after_step()
        while controller.measured:
            controller.decide(controller.measured.pop())
    return rates


@pytest.mark.parametrize("decay", [0.99, 1.0])
def test_the_highest_rate_is_reached_and_not_exceeded(decay: float) -> None:
    """On top of a schedule too, which falls and rises again. Rounding aside."""

    def schedule(step: int) -> float:
        return 1e-4 * decay ** (step % 60)

    rates = _steps(_build(max_lr=2e-4), 600, schedule=schedule)
    assert max(rates) == pytest.approx(2e-4, rel=1e-12)
    assert max(_steps(_build(), 600, schedule=schedule)) > 3e-4  # it would


def test_a_first_rate_above_the_highest_is_not_used() -> None:
    assert _steps(_build(1.0, max_lr=2e-4), 1) == [2e-4]


def test_the_highest_rate_holds_after_a_divergence_and_for_a_group_with_a_higher_rate() -> None:
    for per_group in (False, True):
        controller = _build(max_lr=2e-4, per_group=per_group)
        _steps(controller, 60)
        controller.return_to_anchor(lr_is_cause=False)
        _steps(controller, 60)
        controller.optimizer.add_param_group({"params": [nn.Parameter(torch.ones(100))], "lr": 1e-2})
        assert max(_steps(controller, 60)) <= 2e-4 * (1 + 1e-12)
        controller.return_to_anchor()
        assert max(_steps(controller, 200)) <= 2e-4 * (1 + 1e-12)


@pytest.mark.parametrize("with_key", [True, False])
def test_the_highest_rate_of_the_new_run_holds_after_a_resume(with_key: bool) -> None:
    """Whether it is lower or higher than the one before; a ceiling after a divergence stays."""
    for before, now in ((4e-4, 2e-4), (2e-4, 4e-4), (math.inf, 2e-4), (2e-4, math.inf)):
        controller = _build(max_lr=before)
        _steps(controller, 100)
        state = controller.state(with_vectors=True)
        resumed = _build(max_lr=now)
        resumed.optimizer.load_state_dict(controller.optimizer.state_dict())
        with torch.no_grad():
            for new, old in zip(_parameters(resumed), _parameters(controller), strict=True):
                new.copy_(old)
        if with_key:
            resumed.load_state(state)
        else:
            resumed.load_groups(state)
        rates = _steps(resumed, 200)
        assert max(rates) == pytest.approx(now) if now < math.inf else max(rates) > 1e-3
    diverged = _build(max_lr=4e-4)
    _steps(diverged, 100)
    diverged.return_to_anchor()
    resumed = _build(max_lr=3e-4)
    resumed.load_groups(diverged.state(with_vectors=False))
    assert max(_steps(resumed, 200)) == pytest.approx(1.2e-4)


def test_a_second_divergence_does_not_raise_the_ceiling() -> None:
    """On a schedule that falls the scale rises, and the highest learning rate is of an earlier time."""
    group = ScaledGroup(LongHorizon())

    def step(scheduled_lr: float, cosine: float) -> None:
        group.follow_schedule(scheduled_lr)
        group.alignment = Alignment(cosine, 1.0, 1.0)
        lr = limited_scale(group, scheduled_lr, 1.11) * scheduled_lr
        group.max_survived_lr = max(group.max_survived_lr, lr)
        group.adapt(lr, 1, LossState())

    for _ in range(10):
        step(0.1, 0.0)
    group.after_divergence(0.1, LongHorizon(), lr_is_cause=True)
    ceiling = group.lr_ceiling
    for t in range(58):
        step(0.1 * (1 - t / 60), 1.0)
    group.after_divergence(0.1 / 30, LongHorizon(), lr_is_cause=True)
    assert group.lr_ceiling <= ceiling < math.inf


def test_the_ceiling_is_a_share_of_the_highest_rate_that_was_used() -> None:
    """A divergence shows late, when the schedule may have fallen. What another divergence has ended does not count."""
    group = ScaledGroup(LongHorizon(), scale=2.0, max_survived_lr=0.2)
    group.after_divergence(0.05, LongHorizon(), lr_is_cause=True)
    assert group.lr_ceiling == pytest.approx(0.3 * 0.2)
    assert group.scale == pytest.approx(0.3 * 2.0)
    group.after_divergence(0.05, LongHorizon(), lr_is_cause=True)
    assert group.lr_ceiling == pytest.approx(0.3 * 0.6 * 0.05)


def test_the_rule_stops_at_the_lowest_rate() -> None:
    free = _steps(_build(0.1), 200, -1.0)
    assert free[-1] < 1e-3
    controller = _build(0.1, min_lr=0.01)
    controller.restart()  # so that no step is shortened
    limited = _steps(controller, 200, -1.0)
    assert min(limited) == limited[-1] == pytest.approx(0.01)


def test_a_schedule_may_go_below_the_lowest_rate_and_the_scale_does_not_rise_against_it() -> None:
    group, scales = ScaledGroup(Multiplicative(0.5), min_lr=0.01), []
    for scheduled, cosine in [(0.1, -1.0)] * 5 + [(0.001, -1.0)] * 2 + [(0.001, 1.0)] + [(0.1, -1.0)] * 2:
        group.follow_schedule(scheduled)
        group.alignment = Alignment(cosine, 1.0, 1.0)
        group.adapt(group.scale * scheduled, 1, LossState())
        scales.append(group.scale)
    assert scales == pytest.approx([0.5, 0.25, 0.125, 0.1, 0.1, 0.1, 0.1, 0.15, 0.1, 0.1])


@pytest.mark.parametrize("rule", ["long", "short"])
def test_the_scale_stays_after_so_many_steps(rule: str) -> None:
    """And measurements go on, so that the alignment is logged."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(100))], 1e-4)
    make, horizon = (LongHorizon, 20) if rule == "long" else (lambda: Multiplicative(0.1), None)
    controller = LRController(optimizer, make, horizon, every=1, freeze_after=10)
    rates = _steps(controller, 30)
    assert len(set(rates[:10])) > 5
    assert len(set(rates[10:])) == 1
    assert rates[10] != rates[9]
    assert controller.groups[0].alignment.cosine == pytest.approx(1)


def _adapted(lr: float, told: list[str], **arguments: Any) -> AdaptedOptimizer:
    controller = _build(lr, **arguments)
    return AdaptedOptimizer("Adam", controller, warn=told.append, after_return=lambda: None, guard=True)


@pytest.mark.parametrize("gradient", [1.0, -1.0])
def test_players_stay_within_a_factor_of_three(gradient: float) -> None:
    told: list[str] = []
    player = _adapted(1e-4, told)
    limit_players([player])
    limit_players([player])
    assert len(told) == 1
    assert "stays within a factor of 3 of the one that is set" in told[0]
    rates = _steps(player.controller, 300, gradient)
    if gradient > 0:
        assert rates[-1] == max(rates) == pytest.approx(3e-4)
    else:
        assert rates[-1] == min(rates) == pytest.approx(1e-4 / 3)


def test_players_that_are_only_observed_are_not_warned_of() -> None:
    told: list[str] = []
    limit_players([_adapted(1e-4, told, adapts=False)])
    assert told == []


def test_players_stay_so_after_a_restart() -> None:
    told: list[str] = []
    player = _adapted(1e-4, told)
    limit_players([player])
    player.restart()
    limit_players([player])
    assert len(told) == 1
    assert max(_steps(player.controller, 300)) == pytest.approx(3e-4)
