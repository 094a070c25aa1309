"""chemprop: MPNN on a sum over the atoms of random molecules, with a Trainer that the user builds.

Its scheduler warms up from `init_lr` to `max_lr`. Here `max_lr` is 10 times `init_lr`, as in its defaults.
"""

from __future__ import annotations

import random
from typing import Any

from chemprop import data, models, nn
from lightning.pytorch import Trainer

from clients.runner import Project, main

_draw = random.Random(0)
_PARTS = ("C", "N", "O", "CC", "C(C)", "C(=O)", "c1ccccc1", "C(F)")


def _molecule() -> data.MoleculeDatapoint:
    smiles = "".join(_draw.choice(_PARTS) for _ in range(_draw.randint(2, 7)))
    target = smiles.count("C") + 2 * smiles.count("O") - smiles.count("N") + 3 * smiles.count("F")
    return data.MoleculeDatapoint.from_smi(smiles, [target + 0.2 * _draw.gauss(0, 1)])


MOLECULES = [_molecule() for _ in range(500)]


def fit(callbacks: list[Any], logger: Any, lr: float) -> None:
    train, validation = data.MoleculeDataset(MOLECULES[:400]), data.MoleculeDataset(MOLECULES[400:])
    scaler = train.normalize_targets()
    validation.normalize_targets(scaler)
    head = nn.RegressionFFN(
        input_dim=64, hidden_dim=64, output_transform=nn.UnscaleTransform.from_standard_scaler(scaler)
    )
    model = models.MPNN(
        nn.BondMessagePassing(d_h=64), nn.MeanAggregation(), head, init_lr=lr, max_lr=10 * lr, final_lr=lr
    )
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=10,
        callbacks=callbacks,
        logger=logger,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=5,
    )
    trainer.fit(
        model,
        data.build_dataloader(train, batch_size=32),
        data.build_dataloader(validation, batch_size=64, shuffle=False),
    )


if __name__ == "__main__":
    main(Project("chemprop", "lightning.pytorch", fit, default_lr=1e-4, metric="val_loss"))
