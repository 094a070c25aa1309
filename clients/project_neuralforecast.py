"""neuralforecast: NHITS on its AirPassengers data, by `NeuralForecast.fit`, which copies the model and callbacks."""

from __future__ import annotations

from typing import Any

from neuralforecast import NeuralForecast
from neuralforecast.models import NHITS
from neuralforecast.utils import AirPassengersDF

from clients.runner import Project, main


def fit(callbacks: list[Any], logger: Any, lr: float) -> None:
    model = NHITS(
        h=12,
        input_size=24,
        max_steps=200,
        learning_rate=lr,
        val_check_steps=50,
        random_seed=3,
        mlp_units=[[32, 32]] * 3,
        scaler_type="standard",
        accelerator="cpu",
        callbacks=callbacks,
        logger=logger,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=5,
    )
    NeuralForecast([model], freq="ME").fit(AirPassengersDF, val_size=12)


if __name__ == "__main__":
    main(Project("neuralforecast", "pytorch_lightning", fit, default_lr=1e-3, metric="ptl/val_loss"))
