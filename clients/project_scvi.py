"""scvi-tools: SCVI on its synthetic counts, by `model.train`."""

from __future__ import annotations

from typing import Any

import scvi

from clients.runner import Project, main

scvi.settings.seed = 3  # also seeds the counts
CELLS = scvi.data.synthetic_iid(batch_size=400, n_genes=100)
scvi.model.SCVI.setup_anndata(CELLS, batch_key="batch")


def fit(callbacks: list[Any], logger: Any, lr: float) -> None:
    scvi.settings.seed = 3
    model = scvi.model.SCVI(CELLS, n_latent=5)
    model.train(
        max_epochs=8,
        accelerator="cpu",
        batch_size=64,
        plan_kwargs={"lr": lr},
        callbacks=callbacks,
        logger=logger,
        check_val_every_n_epoch=1,
        enable_progress_bar=False,
        log_every_n_steps=5,
    )


if __name__ == "__main__":
    main(Project("scvi-tools", "lightning.pytorch", fit, default_lr=1e-3, metric="elbo_validation"))
