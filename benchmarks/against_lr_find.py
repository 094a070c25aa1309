"""Lightning's ``LearningRateFinder`` and `LRRangeTest` on one network: the learning rate found, and training with it.

    python -m benchmarks.against_lr_find

Both sweep 200 steps from the same seeds; each uses its default range. Then the digits network is trained for the same
number of epochs with the learning rate that was found.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import LearningRateFinder

from benchmarks.argument_types import positive_count
from lightning_lr import LRRangeTest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))
from digits import Digits, DigitsCNN

EPOCHS = 5


def _train(seed: int, momentum: float, callback: Callback) -> tuple[float, float, float]:
    """The learning rate that was set, and final validation loss and accuracy."""
    seed_everything(seed, verbose=False)
    quiet: dict[str, Any] = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    model = DigitsCNN(momentum=momentum)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(accelerator="cpu", max_epochs=EPOCHS, callbacks=[callback], default_root_dir=folder, **quiet)
        trainer.fit(model, Digits())
    metrics = trainer.callback_metrics
    return trainer.optimizers[0].param_groups[0]["lr"], float(metrics["val_loss"]), float(metrics["val_acc"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=positive_count, default=5)
    seeds = parser.parse_args().seeds
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    for momentum in (0.9, 0.0):
        print(f"SGD, momentum {momentum}, {seeds} seeds{'':21} lr found (range)        val loss  val accuracy")
        for name, build in (
            ("LearningRateFinder", lambda: LearningRateFinder(num_training_steps=200)),
            ("LRRangeTest", lambda: LRRangeTest(num_steps=200, verify=False)),
        ):
            lrs, losses, accuracies = zip(*(_train(seed, momentum, build()) for seed in range(seeds)), strict=True)
            print(
                f"  {name:42} {statistics.median(lrs):.1e} ({min(lrs):.1e} to {max(lrs):.1e})"
                f" {statistics.mean(losses):9.3f} {statistics.mean(accuracies):9.1%}"
            )


if __name__ == "__main__":
    main()
