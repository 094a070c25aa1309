"""Train on the digits, from the command line or with a YAML file. This script imports no learning-rate callback.

python examples/train.py fit -c examples/range_test_then_cycles.yaml
python examples/train.py fit --trainer.max_epochs=5 --trainer.callbacks+=lightning_lr.LRRangeTest
"""

from __future__ import annotations

from digits import Digits, DigitsCNN
from lightning.pytorch.cli import LightningCLI


def main() -> None:
    LightningCLI(DigitsCNN, Digits, save_config_kwargs={"overwrite": True})


if __name__ == "__main__":
    main()
