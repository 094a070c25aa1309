"""pytorch-forecasting: NBeats on its generated autoregressive series, with a Trainer that the user builds."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Trainer
from pytorch_forecasting import NBeats, TimeSeriesDataSet
from pytorch_forecasting.data.examples import generate_ar_data

from clients.runner import Project, main

FRAME = generate_ar_data(seasonality=10.0, timesteps=120, n_series=20, seed=1).astype({"series": str})
TRAIN = TimeSeriesDataSet(
    FRAME[FRAME["time_idx"] < 100],
    time_idx="time_idx",
    target="value",
    group_ids=["series"],
    min_encoder_length=40,
    max_encoder_length=40,
    min_prediction_length=10,
    max_prediction_length=10,
    time_varying_unknown_reals=["value"],
)
VALIDATION = TimeSeriesDataSet.from_dataset(TRAIN, FRAME, min_prediction_idx=100)


def fit(callbacks: list[Any], logger: Any, lr: float) -> None:
    model = NBeats.from_dataset(
        TRAIN, learning_rate=lr, widths=[32, 64], backcast_loss_ratio=0.1, log_interval=-1, log_val_interval=-1
    )
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=3,
        limit_train_batches=60,
        gradient_clip_val=0.1,
        callbacks=callbacks,
        logger=logger,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=5,
    )
    trainer.fit(
        model,
        TRAIN.to_dataloader(train=True, batch_size=16, num_workers=0),
        VALIDATION.to_dataloader(train=False, batch_size=64, num_workers=0),
    )


if __name__ == "__main__":
    main(Project("pytorch-forecasting", "lightning.pytorch", fit, default_lr=1e-3, metric="val_loss"))
