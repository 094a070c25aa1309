"""The script of a project with Hydra: python hydra_train.py trainer.max_epochs=5"""

from __future__ import annotations

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig


@hydra.main(config_path=".", config_name="config", version_base="1.3")
def main(config: DictConfig) -> None:
    trainer = instantiate(config.trainer)
    trainer.fit(instantiate(config.model), datamodule=instantiate(config.data))


if __name__ == "__main__":
    main()
