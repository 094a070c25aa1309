"""The classes of Lightning that the tests use, from the package that ``TEST_LIGHTNING`` names.

``TEST_LIGHTNING=pytorch_lightning`` takes them from ``pytorch_lightning``; else they come from ``lightning.pytorch``.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

PACKAGE = os.environ.get("TEST_LIGHTNING", "lightning.pytorch")

if TYPE_CHECKING or PACKAGE == "lightning.pytorch":
    from lightning.fabric.utilities.exceptions import MisconfigurationException
    from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer, callbacks, seed_everything
    from lightning.pytorch.callbacks import (
        BackboneFinetuning,
        EarlyStopping,
        GradientAccumulationScheduler,
        LearningRateMonitor,
        ModelCheckpoint,
        ProgressBar,
        RichProgressBar,
        StochasticWeightAveraging,
        TQDMProgressBar,
    )
    from lightning.pytorch.callbacks.progress import tqdm_progress
    from lightning.pytorch.cli import LightningCLI
    from lightning.pytorch.demos.boring_classes import BoringModel
    from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
    from lightning.pytorch.plugins import MixedPrecision
    from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy
    from lightning.pytorch.utilities import CombinedLoader
    from lightning.pytorch.utilities.exceptions import SIGTERMException
elif PACKAGE == "pytorch_lightning":
    from lightning_fabric.utilities.exceptions import MisconfigurationException
    from pytorch_lightning import Callback, LightningDataModule, LightningModule, Trainer, callbacks, seed_everything
    from pytorch_lightning.callbacks import (
        BackboneFinetuning,
        EarlyStopping,
        GradientAccumulationScheduler,
        LearningRateMonitor,
        ModelCheckpoint,
        ProgressBar,
        RichProgressBar,
        StochasticWeightAveraging,
        TQDMProgressBar,
    )
    from pytorch_lightning.callbacks.progress import tqdm_progress
    from pytorch_lightning.cli import LightningCLI
    from pytorch_lightning.demos.boring_classes import BoringModel
    from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger
    from pytorch_lightning.plugins import MixedPrecision
    from pytorch_lightning.strategies import DDPStrategy, ModelParallelStrategy, Strategy
    from pytorch_lightning.utilities import CombinedLoader
    from pytorch_lightning.utilities.exceptions import SIGTERMException
else:
    raise ValueError(f"TEST_LIGHTNING must be lightning.pytorch or pytorch_lightning, got {PACKAGE}.")

__all__ = [
    "BackboneFinetuning",
    "BoringModel",
    "CSVLogger",
    "Callback",
    "CombinedLoader",
    "DDPStrategy",
    "EarlyStopping",
    "GradientAccumulationScheduler",
    "LearningRateMonitor",
    "LightningCLI",
    "LightningDataModule",
    "LightningModule",
    "Logger",
    "MisconfigurationException",
    "MixedPrecision",
    "ModelCheckpoint",
    "ModelParallelStrategy",
    "ProgressBar",
    "RichProgressBar",
    "SIGTERMException",
    "StochasticWeightAveraging",
    "Strategy",
    "TQDMProgressBar",
    "TensorBoardLogger",
    "Trainer",
    "callbacks",
    "seed_everything",
    "tqdm_progress",
]
