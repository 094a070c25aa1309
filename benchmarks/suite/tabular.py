"""Settings with tables: measurements, functions of few numbers, and a recommender."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from sklearn.datasets import load_breast_cancer, load_diabetes
from torch import Tensor, nn

from benchmarks.suite.networks import ResidualMLP, TwoTowers
from benchmarks.suite.optimizers import muon_and_adamw, one
from benchmarks.suite.setting import Batch, Setting, cross_entropy, drawn, mlp, rows_of, squared_error

_USERS, _ITEMS = 400, 250
_TRAIN = 2000  # rows of the functions, of 2500
_TRAIN_PATIENTS = 400  # of 569 with breast cancer or without, and of 442 with diabetes


def towers() -> Setting:
    """A recommender: which item a user took, against the items of the other users of the batch."""
    generator = torch.Generator().manual_seed(8)
    users, items = torch.randn(_USERS, 4, generator=generator), torch.randn(_ITEMS, 4, generator=generator)
    chances = (users @ items.T * 1.2).softmax(1)

    def draw(generator: torch.Generator) -> Batch:
        user = torch.randint(0, _USERS, (64,), generator=generator)
        item = torch.multinomial(chances[user], 1, generator=generator)[:, 0]
        return (torch.stack([user, item], 1),)

    def loss(module: nn.Module, batch: Batch) -> Tensor:
        scores = module(batch[0])
        return F.cross_entropy(scores, torch.arange(len(scores)))

    return Setting(
        "towers",
        "adagrad",
        lambda: TwoTowers(_USERS, _ITEMS),
        drawn(draw),
        loss,
        one(torch.optim.Adagrad),
        draw(torch.Generator().manual_seed(3)),
    )


def cancer_drop() -> Setting:
    x, y = _breast_cancer(seed=4)
    return Setting(
        "cancer_drop",
        "adamw",
        lambda: mlp(30, 48, 48, 2, dropout=0.3),
        drawn(rows_of(x[:_TRAIN_PATIENTS], y[:_TRAIN_PATIENTS], batch_size=16)),
        cross_entropy,
        one(torch.optim.AdamW),
        (x[_TRAIN_PATIENTS:], y[_TRAIN_PATIENTS:]),
    )


def logistic() -> Setting:
    """Logistic regression."""
    x, y = _breast_cancer(seed=5)
    return Setting(
        "logistic",
        "adam",
        lambda: nn.Linear(30, 2),
        drawn(rows_of(x[:_TRAIN_PATIENTS], y[:_TRAIN_PATIENTS], batch_size=16)),
        cross_entropy,
        one(torch.optim.Adam),
        (x[_TRAIN_PATIENTS:], y[_TRAIN_PATIENTS:]),
    )


def diabetes() -> Setting:
    bunch = load_diabetes()
    x = torch.tensor(bunch.data / bunch.data.std(0), dtype=torch.float32)
    y = torch.tensor(bunch.target[:, None] / 50, dtype=torch.float32)
    return Setting(
        "diabetes",
        "sgdm",
        lambda: mlp(10, 40, 40, 1, activation=nn.GELU),
        drawn(rows_of(x[:_TRAIN_PATIENTS], y[:_TRAIN_PATIENTS], batch_size=16)),
        squared_error,
        one(torch.optim.SGD, momentum=0.9),
        (x[_TRAIN_PATIENTS:], y[_TRAIN_PATIENTS:]),
    )


def resmlp() -> Setting:
    generator = torch.Generator().manual_seed(9)
    x = torch.rand(2500, 3, generator=generator, dtype=torch.float64) * 2 - 1
    y = torch.sin(4 * x[:, :1]) * x[:, 1:2] + x[:, 2:].abs()
    y = y + 0.02 * torch.randn(2500, 1, generator=generator, dtype=torch.float64)
    x, y = x.float(), y.float()
    return Setting(
        "resmlp",
        "muon",
        lambda: ResidualMLP(3, 1),
        drawn(rows_of(x[:_TRAIN], y[:_TRAIN], batch_size=32)),
        squared_error,
        muon_and_adamw(0.1),
        (x[_TRAIN:], y[_TRAIN:]),
    )


def regression() -> Setting:
    x, y = _smooth_function()
    return Setting(
        "regression",
        "sgd",
        lambda: mlp(4, 64, 64, 1, activation=nn.Tanh),
        drawn(rows_of(x[:_TRAIN], y[:_TRAIN], batch_size=24)),
        squared_error,
        one(torch.optim.SGD),
        (x[_TRAIN:], y[_TRAIN:]),
    )


def unscaled() -> Setting:
    """Regression with inputs and targets as they come: far from unit size."""
    x, y = _smooth_function()
    x, y = x * 30, y * 5
    return Setting(
        "unscaled",
        "sgd",
        lambda: mlp(4, 32, 1),
        drawn(rows_of(x[:_TRAIN], y[:_TRAIN], batch_size=16)),
        squared_error,
        one(torch.optim.SGD),
        (x[_TRAIN:], y[_TRAIN:]),
    )


def _smooth_function() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(19)
    x = torch.rand(2500, 4, generator=generator) * 2 - 1
    y = torch.sin(3 * x[:, :1] * x[:, 1:2]) + x[:, 2:3] * x[:, 3:]
    return x, y + 0.1 * torch.randn(2500, 1, generator=generator)


def _breast_cancer(seed: int) -> tuple[Tensor, Tensor]:
    """Standardized measurements in random order, and what was diagnosed."""
    bunch = load_breast_cancer()
    order = np.random.RandomState(seed).permutation(569)  # recorded losses need this order
    standardized = (bunch.data - bunch.data.mean(0)) / bunch.data.std(0)
    return torch.tensor(standardized[order], dtype=torch.float32), torch.tensor(bunch.target[order])
