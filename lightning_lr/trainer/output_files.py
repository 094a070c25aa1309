"""Files that a run writes: whether they can be written is tried at its start, and they appear whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_warn

from lightning_lr.trainer.lightning_packages import MisconfigurationException

# Bytes that are written to try a folder. A file of a few bytes may need no block, which a full disk has not.
_TRIED_BYTES = 2**16
# torch.save turns most errors of the file system into a RuntimeError, which names the source file of its writer.
_SOURCE_OF_TORCH_SAVE = "inline_container.cc"


def try_folder(folder: Path) -> str | None:
    """Create a folder, write a file in it and delete that again.

    Returns:
        None if this succeeds, else the error.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=folder) as file:
            file.write(bytes(_TRIED_BYTES))
    except OSError as error:
        return f"{type(error).__name__}: {error}"
    return None


def check_folder_writable(argument: str, folder: Path, trainer: Trainer) -> None:
    """Raise a MisconfigurationException on all ranks if the first of them cannot write to a folder."""
    error = trainer.strategy.broadcast(try_folder(folder) if trainer.is_global_zero else None)
    if error is not None:
        raise MisconfigurationException(
            f"{argument} must be a folder that can be written to, got {folder} ({error}): give another one."
        )


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """The path of another file in the same folder. It takes the place of ``path`` once it has been written."""
    unfinished = path.with_name(f"unfinished_{os.getpid()}_{path.name}")  # the suffix may say the format
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def warn_if_not_written(what: str) -> Iterator[None]:
    """Turn an error of the file system into a warning: a run is worth more than a file."""
    try:
        yield
    except BaseException as error:  # a CheckpointException of torch is no Exception
        causes = _causes(error)
        if not all(map(_is_of_file_system, causes)):
            raise
        text, _, _ = str(causes[0]).partition("\n")
        rank_zero_warn(f"{what} could not be written ({type(causes[0]).__name__}: {text}). The run goes on without.")


def _causes(error: BaseException) -> list[BaseException]:
    """The errors of all ranks, where they have written a checkpoint together; else the error itself."""
    if not isinstance(error, Exception) and torch.distributed.is_available():
        from torch.distributed.checkpoint.api import CheckpointException  # slow to import

        if isinstance(error, CheckpointException):
            return [cause for cause, _ in error.failures.values()]
    return [error]


def _is_of_file_system(error: BaseException) -> bool:
    return isinstance(error, OSError) or (isinstance(error, RuntimeError) and _SOURCE_OF_TORCH_SAVE in str(error))


@contextmanager
def report_file(path: Path) -> Iterator[Path]:
    """A `whole_file` without which the run goes on."""
    with warn_if_not_written(str(path)), whole_file(path) as unfinished:
        yield unfinished


def save_checkpoint(trainer: Trainer, path: Path) -> bool:
    """Save a checkpoint, and warn if it cannot be written. Returns whether it was, the same on all ranks.

    These are the two parts of ``Trainer.save_checkpoint``, since an error of a hook must be raised.
    """
    checkpoint = trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
    is_saved, is_new = False, not path.exists()
    with warn_if_not_written(str(path)):
        trainer.strategy.save_checkpoint(checkpoint, path)
        is_saved = True
    is_saved = trainer.strategy.broadcast(is_saved)
    if not is_saved and is_new and trainer.is_global_zero and path.is_dir():  # some of the files of a checkpoint
        shutil.rmtree(path, ignore_errors=True)
    return is_saved


def check_snapshots_writable(trainer: Trainer) -> None:
    """Raise a MisconfigurationException on all ranks if the first of them cannot write to the `snapshot_folder`."""
    source = "The folder of the logger" if trainer.loggers else "default_root_dir of the Trainer"
    check_folder_writable(f"{source}, for snapshot_cycles=True,", snapshot_folder(trainer), trainer)


def snapshot_folder(trainer: Trainer) -> Path:
    """Where `CyclicalLR` saves checkpoints."""
    return Path(trainer.log_dir or trainer.default_root_dir) / "snapshots"
