"""The script of the project: python plain_train.py fit -c config.yaml"""

from __future__ import annotations

from lightning.pytorch.cli import LightningCLI
from plain_model import Data, Net

if __name__ == "__main__":
    LightningCLI(Net, Data, save_config_kwargs={"overwrite": True})
