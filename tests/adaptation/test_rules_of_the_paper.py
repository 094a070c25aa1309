"""The rules of Baydin et al., against the paper's three algorithms written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lightning_lr.adaptation.flat_params import flat_params
from lightning_lr.adaptation.last_step import LastStepDisplacement
from lightning_lr.adaptation.rules import Additive, Alignment, Multiplicative, Rule

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
