"""Folders that cannot be written to are found at the start; what fails later costs the file, not the run."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from lightning_lr import CyclicalLR, LRRangeTest, LRSearch
from tests.helpers.lightning_classes import Callback, CSVLogger, MisconfigurationException, Trainer
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
