"""The rules: against closed forms, and against the paper's three algorithms written out."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_lr.adaptation.flat_params import flat_params
from lightning_lr.adaptation.last_step import LastStepDisplacement
from lightning_lr.adaptation.rules import Additive, Alignment, LongHorizon, Multiplicative, Rule, TrainingPhase


def _aligned(cosine: float) -> Alignment:
    return Alignment(cosine, 1.0, 1.0)


def test_long_horizon_by_hand() -> None:
    rule = LongHorizon()
    factor = rule.update(_aligned(0.99), 0.1, 1)  # clipped: 0.7 > 0.1
    assert [factor, rule.sign_changes, rule.mean_cosine] == pytest.approx([math.exp(0.1), 0, 1.0])
    factor = rule.update(_aligned(-1.0), 0.1, 1)  # clipped: -0.693 < -0.5
    assert [factor, rule.sign_changes, rule.mean_cosine] == pytest.approx([math.exp(-0.5), 0, 0.8 - 0.2 * 0.99])
    assert rule.update(_aligned(0.09), 0.1, 1) == pytest.approx(math.exp(0.7 * 0.1))
    for _ in range(4):
        rule.update(_aligned(-1.0), 0.1, 1)
    assert rule.sign_changes == 1
    factor = rule.update(_aligned(-0.11), 0.1, 4)  # gain 0.7 / (1 + 1/10), two for four steps
    assert factor == pytest.approx(math.exp(-0.1 * 0.7 / 1.1 * 2))
    factor = rule.update(_aligned(1.0), 0.1, 4)  # clipped, two for four steps
    assert factor == pytest.approx(math.exp(0.2))


def _on_a_schedule(cosines: list[float], phase: TrainingPhase, steps: int = 1) -> float:
    """The step of the log scale that the last of some cosines gives, the others taken without a schedule."""
    rule = LongHorizon()
    for cosine in cosines[:-1]:
        rule.update(_aligned(cosine), 0.1, 1)
    rule.sign_changes = 0
    factor = rule.update(_aligned(cosines[-1]), 0.1, steps, phase)
    return math.log(factor) * (1 + rule.sign_changes / 10) / 0.7


def test_long_horizon_aims_lower_in_noise_while_a_schedule_falls() -> None:
    cosines = [0.05, -0.05, 0.05, -0.05]
    variance = 0.0
    for before, after in pairwise(cosines):
        variance += 0.05 * ((after - before) ** 2 / 2 - variance)
    noise = math.sqrt(variance)
    assert _on_a_schedule(cosines, TrainingPhase()) == pytest.approx(0.01 - 0.05)
    assert _on_a_schedule(cosines, TrainingPhase(schedule_direction=-1)) == pytest.approx(0.7 * noise - 0.05)
    assert _on_a_schedule(cosines, TrainingPhase(schedule_direction=1)) == pytest.approx(-0.05)


def test_an_alignment_that_is_not_finite_is_no_noise() -> None:
    rule = LongHorizon()
    for alignment in (_aligned(0.1), Alignment(math.nan, 1.0, math.inf), _aligned(0.1)):
        rule.update(alignment, 0.1, 1)
    assert rule.cosine_variance == 0
    rule.update(_aligned(0.5), 0.1, 1)
    assert rule.cosine_variance > 0


def test_long_horizon_on_a_schedule_is_limited_by_the_loss() -> None:
    for falling, risen in ((TrainingPhase(up, "falling"), TrainingPhase(up, "risen")) for up in (1, -1)):
        assert _on_a_schedule([0.49], falling) == 0
        assert _on_a_schedule([0.5], falling) == pytest.approx(0.1 / 0.7)  # the most that there is
        assert _on_a_schedule([-0.1], falling) == pytest.approx(-0.1)
        assert _on_a_schedule([0.5], risen, steps=4) == pytest.approx(-0.12 / 0.7)
        assert _on_a_schedule([-0.2], risen) == pytest.approx(-0.2)
    for loss in ("falling", "risen"):  # without a schedule it has no say
        assert _on_a_schedule([0.03], TrainingPhase(0, loss)) == pytest.approx(0.04)


def test_long_horizon_on_a_schedule_learns_less_with_time() -> None:
    for horizons, gain in ((0, 1), (4, 0.5), (6, 0.25), (100, 0.05)):
        assert _on_a_schedule([0.1], TrainingPhase(1, "flat", horizons)) == pytest.approx(0.1 * gain)
        assert _on_a_schedule([0.1], TrainingPhase(0, "flat", horizons)) == pytest.approx(0.11)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=200))
def test_long_horizon_keeps_its_bounds(cosines: list[float]) -> None:
    rule, sign_changes = LongHorizon(), 0
    for cosine in cosines:
        factor = rule.update(_aligned(cosine), 0.1, 1)
        assert math.exp(-0.5) - 1e-12 <= factor <= math.exp(0.1) + 1e-12
        assert (factor > 1) == (cosine > -0.01) or abs(cosine + 0.01) < 1e-12
        assert rule.sign_changes in (sign_changes, sign_changes + 1)
        sign_changes = rule.sign_changes


def test_an_alignment_that_is_not_finite_counts_as_minus_one() -> None:
    lost = Alignment(math.nan, 1.0, math.inf)
    assert LongHorizon().update(lost, 0.1, 1) == pytest.approx(math.exp(-0.5))
    assert Additive(1e-3).update(lost, 0.1, 1) == 1.0


def test_additive_halves_at_most() -> None:
    rule = Additive(1.0)
    assert rule.update(Alignment(-1e6, 1.0, 1.0), 0.1, 1) == 0.5
    assert rule.update(Alignment(1.0, 1.0, 1.0), 0.0, 1) == 1.0  # no step was made


# --- the paper, in NumPy: f(θ) = ½ Σ h_i θ_i² with gradient noise that is drawn beforehand


CURVATURES = np.array([1.0, 0.3, 0.05])
START = np.array([1.0, -2.0, 3.0])
NOISE = 0.1 * np.random.default_rng(0).standard_normal((201, 3))


def _sgd_hd(beta: float, alpha: float) -> tuple[list[float], np.ndarray[Any, Any]]:
    theta, u, alphas = START.copy(), np.zeros(3), []
    for t in range(200):
        g = CURVATURES * theta + NOISE[t]
        alpha += beta * (g @ u)
        u = g
        theta = theta - alpha * u
        alphas.append(alpha)
    return alphas, theta


def _sgdn_hd(beta: float, alpha: float, mu: float) -> tuple[list[float], np.ndarray[Any, Any]]:
    theta, u, v, alphas = START.copy(), np.zeros(3), np.zeros(3), []
    for t in range(200):
        g = CURVATURES * theta + NOISE[t]
        alpha += beta * (g @ u)
        v = mu * v + g
        u = g + mu * v
        theta = theta - alpha * u
        alphas.append(alpha)
    return alphas, theta


def _adam_hd(beta: float, alpha: float, b1: float, b2: float) -> tuple[list[float], np.ndarray[Any, Any]]:
    theta, u, m, v, alphas = START.copy(), np.zeros(3), np.zeros(3), np.zeros(3), []
    for t in range(1, 201):
        g = CURVATURES * theta + NOISE[t - 1]
        alpha += beta * (g @ u)
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        u = (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + 1e-8)
        theta = theta - alpha * u
        alphas.append(alpha)
    return alphas, theta


def _multiplicative(beta: float, alpha: float) -> tuple[list[float], np.ndarray[Any, Any]]:
    theta, u, alphas = START.copy(), np.zeros(3), []
    for t in range(200):
        g = CURVATURES * theta + NOISE[t]
        if t:
            alpha *= 1 + beta * (g @ u) / (np.linalg.norm(g) * np.linalg.norm(u))
        u = g
        theta = theta - alpha * u
        alphas.append(alpha)
    return alphas, theta


def _ours(rule: Rule, make: Any, alpha: float) -> tuple[list[float], Any]:
    theta = torch.nn.Parameter(torch.tensor(START))
    optimizer = make([theta], lr=alpha)
    displacement, alphas = LastStepDisplacement(optimizer), []
    scale = 1.0
    for t in range(200):
        theta.grad = torch.tensor(CURVATURES) * theta.detach() + torch.tensor(NOISE[t])
        for params in flat_params(optimizer.param_groups[0]):
            if (moved := displacement.vector(params)) is not None:
                gradient = params.gradients()
                sums = (gradient @ moved, gradient @ gradient, moved @ moved)
                dot, square, length = (each.item() for each in sums)
                scale *= rule.update(Alignment(dot, square**0.5, length**0.5), optimizer.param_groups[0]["lr"], 1)
        optimizer.param_groups[0]["lr"] = alpha * scale
        optimizer.step()
        displacement.after_step()
        alphas.append(alpha * scale)
    return alphas, theta.detach().numpy()


@pytest.mark.parametrize(
    ("rule", "make", "reference"),
    [
        (Additive(1e-3), torch.optim.SGD, _sgd_hd(1e-3, 0.01)),
        (
            Additive(1e-4),
            lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9, nesterov=True),
            _sgdn_hd(1e-4, 0.01, 0.9),
        ),
        (Additive(1e-3), torch.optim.Adam, _adam_hd(1e-3, 0.01, 0.9, 0.999)),
        (Multiplicative(0.02), torch.optim.SGD, _multiplicative(0.02, 0.01)),
    ],
    ids=["SGD-HD", "SGDN-HD", "Adam-HD", "multiplicative"],
)
def test_the_papers_algorithms(rule: Rule, make: Any, reference: tuple[list[float], Any]) -> None:
    alphas, theta = _ours(rule, make, 0.01)
    assert max(reference[0]) > 1.5 * reference[0][0]  # it does adapt
    np.testing.assert_allclose(alphas, reference[0], rtol=1e-9)
    np.testing.assert_allclose(theta, reference[1], rtol=1e-9)
