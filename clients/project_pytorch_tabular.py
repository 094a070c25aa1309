"""pytorch-tabular: an MLP with embeddings on an interaction of columns, by `TabularModel.fit`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from pytorch_tabular import TabularModel
from pytorch_tabular.config import DataConfig, OptimizerConfig, TrainerConfig
from pytorch_tabular.models import CategoryEmbeddingModelConfig

from clients.runner import Project, main

_draw = np.random.default_rng(0)
_numbers, _category = _draw.normal(size=(1500, 6)), _draw.integers(0, 4, 1500)
FRAME = pd.DataFrame(_numbers, columns=list("abcdef"))
FRAME["category"] = _category.astype(str)
FRAME["target"] = (_numbers[:, 0] * _numbers[:, 1] + _numbers[:, 2] + (_category == 2) > 0.3).astype(int)


def fit(callbacks: list[Any], logger: Any, lr: float) -> None:
    model = TabularModel(
        data_config=DataConfig(
            target=["target"], continuous_cols=list("abcdef"), categorical_cols=["category"], num_workers=0
        ),
        model_config=CategoryEmbeddingModelConfig(task="classification", layers="64-32", learning_rate=lr),
        optimizer_config=OptimizerConfig(),
        trainer_config=TrainerConfig(
            accelerator="cpu",
            max_epochs=8,
            batch_size=64,
            early_stopping=None,
            checkpoints=None,
            load_best=False,
            progress_bar="none",
            seed=3,
        ),
        verbose=False,
    )
    model.logger = logger  # its ExperimentConfig takes only the name of a logger
    model.fit(train=FRAME[:1200], validation=FRAME[1200:], callbacks=callbacks)


if __name__ == "__main__":
    main(Project("pytorch-tabular", "pytorch_lightning", fit, default_lr=1e-3, metric="valid_loss"))
