"""Compares cycles, with bounds from a range test, with the same run at the optimizer's default learning rate."""

from __future__ import annotations

import logging
import warnings

from digits import Digits, DigitsCNN
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger

from lightning_lr import CyclicalLR, LRRangeTest, LRTrace

EPOCHS = 12
LOGS = "demo_logs"


def train(name: str, callbacks: list[Callback]) -> float:
    """Train from a fixed seed and return the final validation accuracy."""
    seed_everything(7, verbose=False)
    trainer = Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        callbacks=callbacks,
        logger=TensorBoardLogger(LOGS, name=name, default_hp_metric=False),
        log_every_n_steps=5,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    trainer.fit(DigitsCNN(), Digits())
    return float(trainer.callback_metrics["val_acc"])


def main() -> None:
    warnings.filterwarnings("ignore", message="The '.*_dataloader' does not have many workers")
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    test = LRRangeTest(output_dir=LOGS)
    with_cycles = train("range_test_then_cycles", [test, CyclicalLR(step_size="2ep", mode="triangular2")])
    by_default = train("default", [LRTrace()])

    assert test.result is not None
    found = test.result
    print()
    print(f"Range test: lr = {found.lr:.2g}, {'confident' if found.confident else 'not confident'}", end="")
    print(f"{''.join(f'; {reason}' for reason in found.reasons)}.")
    print(f"Cycles from {found.base_lr:.2g} to {found.max_lr:.2g} for {EPOCHS} epochs.")
    print(f"Validation accuracy: {with_cycles:.1%} with these cycles,")
    print(f"                     {by_default:.1%} at SGD's default learning rate of 0.001.")
    print(f"The curve: {LOGS}/lr_range_test.png. Everything: tensorboard --logdir {LOGS}")


if __name__ == "__main__":
    main()
