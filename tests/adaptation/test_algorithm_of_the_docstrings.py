"""The default rule in NumPy, written from the docstrings of `LongHorizon` and `LossLevel` alone."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_lr import HypergradientLR
from lightning_lr.adaptation.constants import (
    FAR,
    FIRST_LOSSES,
    FIRST_STEP_LENGTH,
    GAIN,
    GAIN_HALVING,
    LEARNED_DEVIATIONS,
    LEVEL_WEIGHT,
    MAX_CHANGE,
    MAX_CHANGE_AT_START,
    MEAN_WEIGHT,
    NEGLIGIBLE_GAIN,
    OVERSHOT_MEAN,
    SETTLED_SPACING,
    SQUARE_WEIGHT,
)
from tests.helpers.lightning_classes import LightningModule
from tests.helpers.recorded_steps import fit

Array = NDArray[np.float64]


class Regression(LightningModule):
    """Least squares in float64, with plain SGD."""

    def __init__(self, theta: Array, lr: float) -> None:
        super().__init__()
        self.theta, self.lr = nn.Parameter(torch.tensor(theta)), lr
        self.rates: list[float] = []

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        return ((x @ self.theta - y) ** 2).mean()

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD([self.theta], self.lr)
        optimizer.register_step_pre_hook(lambda *_: self.rates.append(optimizer.param_groups[0]["lr"]))
        return optimizer


class Loss:
    """What the docstring of `LossLevel` says."""

    def __init__(self) -> None:
        self.all: list[float] = []
        self.level = self.deviation = 0.0
        self.k = 0
        self.learned = self.risen = False
        self.gain = 0.0

    def add(self, loss: float) -> None:
        self.all.append(loss)
        first = float(np.mean(self.all[:FIRST_LOSSES]))
        spread = float(np.mean(np.abs(np.array(self.all[:FIRST_LOSSES]) - first)))
        if len(self.all) == 1:
            self.level = loss
        if loss <= first:
            self.deviation += SQUARE_WEIGHT * (abs(loss - self.level) - self.deviation)
            self.k += 1
        self.level += LEVEL_WEIGHT * (loss - self.level)
        noise = self.deviation / (1 - (1 - SQUARE_WEIGHT) ** self.k)
        clear = LEARNED_DEVIATIONS * max(noise, spread)
        self.learned |= self.level < first - clear and len(self.all) >= FIRST_LOSSES
        self.risen = self.level > first + clear
        self.gain = max(0.0, first - clear - self.level)


class Measured(NamedTuple):
    """Before step t, n steps after the last one, with the losses since then."""

    t: int
    n: int
    g: Array
    d: Array
    losses: list[float]


def reference(theta: Array, x: Array, y: Array, lr: float, horizon: int) -> tuple[list[float], list[int], int]:
    """The learning rates of all steps, the numbers of steps between measurements, and the sign changes."""
    s, m, v, k, sign_changes, usual, n = 1.0, 0.0, 0.0, 0, 0, 0.0, 0
    overshot = False
    rates, spacings, loss = [], [], Loss()
    anchor, losses = theta, list[float]()
    waiting: list[Measured] = []
    for t in range(len(x)):
        while waiting and waiting[0].t <= t - 2:
            now = waiting.pop(0)
            for each in now.losses:
                loss.add(each)
            if now.t == 0:
                continue
            norm = float(np.linalg.norm(now.g))
            square = usual**2
            square += SQUARE_WEIGHT * (min(norm, FAR * usual) ** 2 - square)
            usual = float(np.sqrt(square)) if usual else norm
            c = now.g @ now.d / (max(norm, usual) * np.linalg.norm(now.d))
            before, m = m, m + MEAN_WEIGHT * (c - m)
            v, k = v + SQUARE_WEIGHT * (c**2 - v), k + 1
            r = np.sqrt(v / (1 - (1 - SQUARE_WEIGHT) ** k))
            overshot |= m < -OVERSHOT_MEAN * r
            has_effect = overshot or loss.learned or loss.risen
            limit = MAX_CHANGE if has_effect else MAX_CHANGE_AT_START
            sign_changes += has_effect and before * m < 0
            signal = c if has_effect else max(0.0, m)
            if has_effect and abs(m) * usual * np.linalg.norm(now.d) < NEGLIGIBLE_GAIN * loss.gain:
                signal = 0.0
            change = limit * np.clip(GAIN * signal / r / (1 + sign_changes / GAIN_HALVING), -1, 1)
            s *= np.exp(np.sqrt(now.n) * change)
        residual = x[t] @ theta - y[t]
        g = 2 * x[t].T @ residual / len(residual)
        losses.append(float(np.float32(np.mean(residual**2))))
        n += 1
        if t == 0 or n >= (1 if sign_changes < GAIN_HALVING else SETTLED_SPACING):
            waiting.append(Measured(t, n, g, anchor - theta, losses))
            anchor = anchor + (theta - anchor) * n / horizon
            spacings.append(n)
            n, losses = 0, []
        rates.append(lr * s)
        step = -lr * s * g
        if t == 0:
            shortened = min(1.0, FIRST_STEP_LENGTH * np.linalg.norm(theta) / np.linalg.norm(step))
            s, step = s * shortened, shortened * step
        theta = theta + step
    return rates, spacings, sign_changes


@pytest.mark.parametrize("lr", [1e-5, 0.3])
def test_the_docstrings_give_the_whole_algorithm(lr: float) -> None:
    """All parts of it have their turn: both limits, a shortened first step, sign changes, and sparse measurements."""
    random = np.random.default_rng(1)
    theta, x = random.standard_normal(5), random.standard_normal((500, 8, 5))
    y = x @ random.standard_normal(5) + 0.5 * random.standard_normal((500, 8))
    expected, spacings, sign_changes = reference(theta, x, y, lr, horizon=50)
    assert set(spacings) == {1, SETTLED_SPACING}
    assert sign_changes >= GAIN_HALVING
    data = DataLoader(TensorDataset(torch.tensor(x).flatten(0, 1), torch.tensor(y).flatten()), batch_size=8)
    fit(model := Regression(theta, lr), HypergradientLR(horizon=50, decay=None), data=data, max_epochs=1)
    assert model.rates == pytest.approx(expected, rel=1e-6)
