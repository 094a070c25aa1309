"""darts: NBEATS on a sine with a trend and noise, by `model.fit(series, val_series=...)`."""

from __future__ import annotations

from typing import Any

import numpy as np
from darts import TimeSeries
from darts.models import NBEATSModel

from clients.runner import Project, main

_time = np.arange(400)
_noise = np.random.default_rng(0).normal(size=400)
_values = np.sin(2 * np.pi * 0.05 * _time) + _time / 400 + 0.1 * _noise
SERIES = TimeSeries.from_values(_values.astype(np.float32))


def fit(callbacks: list[Any], logger: Any, lr: float) -> None:
    model = NBEATSModel(
        input_chunk_length=24,
        output_chunk_length=6,
        n_epochs=6,
        batch_size=32,
        num_stacks=2,
        num_blocks=1,
        num_layers=2,
        layer_widths=32,
        random_state=3,
        optimizer_kwargs={"lr": lr},
        pl_trainer_kwargs={
            "accelerator": "cpu",
            "callbacks": callbacks,
            "logger": logger,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "log_every_n_steps": 2,
        },
    )
    model.fit(SERIES[:320], val_series=SERIES[280:], verbose=False)


if __name__ == "__main__":
    main(Project("darts", "pytorch_lightning", fit, default_lr=1e-3, metric="val_loss"))
