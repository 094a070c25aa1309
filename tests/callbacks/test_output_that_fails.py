"""Folders that cannot be written to are found at the start; what fails later costs the file, not the run."""

from __future__ import annotations

import errno
import io
import os
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure

from lightning_lr import CyclicalLR, LRRangeTest, LRSearch
from tests.contracts.models import Net, batches
from tests.helpers.forked_ranks import run_ranks
from tests.helpers.lightning_classes import (
    Callback,
    CSVLogger,
    MisconfigurationException,
    ModelParallelStrategy,
    Trainer,
)
from tests.helpers.recorded_steps import RecordingClassifier, fit
from tests.helpers.tiny_models import Classifier, loader, quiet_trainer

pytestmark = [
    pytest.mark.filterwarnings("ignore:LR(RangeTest|Search) is not confident"),
    pytest.mark.filterwarnings("ignore:.*lr_scheduler.step.*before.*optimizer.step.*"),
]
OUTPUT = ("lr_range_test.csv", "lr_range_test.json", "lr_range_test.png")


@pytest.mark.parametrize("kind", ["search", "range test", "snapshots"])
def test_a_folder_that_cannot_be_written_to_is_found_at_the_start(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "file" / "x"  # no folder can be made there
    folder.parent.touch()
    callbacks: dict[str, Callback] = {
        "search": LRSearch(output_dir=folder),
        "range test": LRRangeTest(output_dir=folder),
        "snapshots": CyclicalLR(0.01, 0.1, snapshot_cycles=True),
    }
    model = Classifier()
    trainer = quiet_trainer(callbacks=[callbacks[kind]], default_root_dir=folder)
    named = "default_root_dir of the Trainer, for snapshot_cycles=True," if kind == "snapshots" else "output_dir"
    message = rf"^{named} must be a folder that can be written to, got .*NotADir.*: give another one\.$"
    with pytest.raises(MisconfigurationException, match=message):
        trainer.fit(model, loader())
    assert model.losses == []


@pytest.mark.filterwarnings("ignore:Experiment logs directory .* exists and is not empty")
def test_the_folder_of_a_logger_is_named_as_such(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path, version=0)
    Path(logger.log_dir).mkdir(parents=True)
    Path(logger.log_dir, "snapshots").touch()
    with pytest.raises(
        MisconfigurationException, match=r"^The folder of the logger, for snapshot_cycles=True, must be"
    ):
        fit(Classifier(), CyclicalLR(0.01, 0.1, snapshot_cycles=True), logger=logger)


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_fast_dev_run_writes_no_snapshots(tmp_path: Path) -> None:
    cycle = CyclicalLR(0.01, 0.1, 1, snapshot_cycles=True)
    trainer = fit(RecordingClassifier(), cycle, fast_dev_run=4, default_root_dir=tmp_path)
    assert (trainer.global_step, cycle.snapshots, list(tmp_path.iterdir())) == (4, [], [])


def test_a_full_disk_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(figure: Figure, path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", half)
    test = LRRangeTest(num_steps=20, verify=False, output_dir=tmp_path)
    with pytest.warns(UserWarning, match=r"lr_range_test.png could not be written \(OSError: .*No space left"):
        trainer = fit(RecordingClassifier(), test)
    assert trainer.global_step == 40
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lr_range_test.csv", "lr_range_test.json"]


class LosesFolder(Callback):
    """A file takes the place of a folder after 35 steps."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == 35:
            shutil.rmtree(self.folder)
            self.folder.touch()


def test_a_snapshot_that_cannot_be_saved_costs_the_snapshot_only(tmp_path: Path) -> None:
    cycle = CyclicalLR(0.01, 0.1, 5, snapshot_cycles=True)
    with pytest.warns(UserWarning, match=r"cycle=4-step=40.ckpt could not be written"):
        trainer = fit(RecordingClassifier(), LosesFolder(tmp_path / "snapshots"), cycle, default_root_dir=tmp_path)
    assert trainer.global_step == 40
    assert [Path(path).name for path in cycle.snapshots] == [f"cycle={i}-step={10 * i}.ckpt" for i in (1, 2, 3)]


class FullDisk(io.BytesIO):
    """Takes the first bytes only."""

    def write(self, data: Any) -> int:
        if self.tell() > 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a process that has used CUDA cannot fork")
def test_a_distributed_snapshot_that_cannot_be_saved_costs_the_snapshot_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At step 4 rank 1 cannot write its shards, at step 6 rank 0 cannot write the rest."""
    from torch.distributed.checkpoint.filesystem import FileSystemWriter  # slow to import

    write_data, save = FileSystemWriter.write_data, torch.save

    def write_shards(self: Any, *args: Any) -> Any:
        if "step=4" in str(self.path) and os.environ["LOCAL_RANK"] == "1":
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_data(self, *args)

    def save_rest(obj: Any, file: Any) -> None:
        save(obj, FullDisk() if isinstance(file, Path) and "step=6" in str(file) else file)

    def train() -> tuple[int, list[str], list[str]]:
        cycle = CyclicalLR(0.01, 0.1, 1, snapshot_cycles=True)
        strategy = ModelParallelStrategy(2, 1, save_distributed_checkpoint=True)
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            trainer = quiet_trainer(
                callbacks=[cycle], devices=2, strategy=strategy, max_epochs=4, default_root_dir=tmp_path
            )
            trainer.fit(Net(), batches())
        texts = [str(warning.message) for warning in warned]
        return trainer.global_step, cycle.snapshots, [text for text in texts if "could not be written" in text]

    with monkeypatch.context() as patch:
        patch.setattr(FileSystemWriter, "write_data", write_shards)
        patch.setattr(torch, "save", save_rest)
        ranks = run_ranks(train)
    assert not any(rank.error for rank in ranks), "\n".join(rank.error for rank in ranks)
    first, last = (str(tmp_path / "snapshots" / name) for name in ("cycle=1-step=2.ckpt", "cycle=4-step=8.ckpt"))
    assert [rank.value[:2] for rank in ranks] == [(8, [first, last])] * 2
    at_4, at_6 = ranks[0].value[2]
    assert re.search(r"step=4.ckpt could not be written \(OSError: \[Errno 28\] No space left on device\)\.", at_4)
    assert re.search(r"step=6.ckpt could not be written \(RuntimeError: .*inline_container", at_6)
    assert sorted(map(str, (tmp_path / "snapshots").iterdir())) == [first, last]


class Unreadable(RecordingClassifier):
    """A file that belongs into its checkpoints is missing."""

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        raise FileNotFoundError("vocabulary.txt")


def test_an_error_of_a_hook_is_no_full_disk(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="vocabulary"):
        fit(Unreadable(), CyclicalLR(0.01, 0.1, 5, snapshot_cycles=True), default_root_dir=tmp_path)


def test_output_of_an_earlier_run_is_replaced(tmp_path: Path) -> None:
    for name in OUTPUT:
        (tmp_path / name).write_text("old")
    fit(RecordingClassifier(), LRRangeTest(num_steps=20, verify=False, output_dir=tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(OUTPUT)
    assert all((tmp_path / name).read_bytes() != b"old" for name in OUTPUT)
