"""Loggers that drop everything, and name the folder, the name and the version of those whose place they take."""

from __future__ import annotations

from functools import cache
from typing import Any

from lightning.pytorch import Trainer

from lightning_lr.trainer.lightning_packages import either, from_package_of

_HAVE_LOG_DIR = (*either("loggers.TensorBoardLogger"), *either("loggers.CSVLogger"))


def muted_loggers(trainer: Trainer) -> list[Any]:
    """One for each logger of a Trainer: a training step may ask for its folder, and write to its experiment."""
    muted = _muted_class(from_package_of(trainer, "loggers.logger.DummyLogger"))
    return [muted(logger) for logger in trainer.loggers]


@cache
def _muted_class(base: Any) -> Any:
    """A class of the Trainer's package, derived from its logger that drops everything."""

    class MutedLogger(base):  # type: ignore[misc]
        """Takes the place of a logger.

        Args:
            logger: whose place it takes.
        """

        def __init__(self, logger: Any) -> None:
            super().__init__()
            self._logger = logger

        @property
        def name(self) -> Any:
            return self._logger.name

        @property
        def version(self) -> Any:
            return self._logger.version

        @property
        def save_dir(self) -> Any:
            # what Trainer.log_dir takes of a logger that is none of these two
            return self._logger.log_dir if isinstance(self._logger, _HAVE_LOG_DIR) else self._logger.save_dir

        @property
        def log_dir(self) -> Any:
            return self._logger.log_dir

    return MutedLogger
