"""Snapshots at the ends of cycles, and the ensemble that is made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_lr import CyclicalLR, ensemble
from tests.helpers.lightning_classes import Callback, CSVLogger, LightningModule, Trainer
from tests.helpers.recorded_steps import RecordingClassifier, fit
from tests.helpers.tiny_models import Classifier, loader


class Net(Classifier):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.backbone(x))  # type: ignore[no-any-return]


class Bare(Net):
    """No BatchNorm."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.backbone[1] = torch.nn.Identity()


def _steps(paths: list[str]) -> list[int]:
    return [torch.load(path, weights_only=True)["global_step"] for path in paths]


def test_a_checkpoint_at_the_end_of_each_cycle(tmp_path: Path) -> None:
    cycle = CyclicalLR(0.0, 0.1, 4, 5, snapshot_cycles=True)
    logger = CSVLogger(tmp_path)
    fit(RecordingClassifier(), cycle, logger=logger)
    assert _steps(cycle.snapshots) == [9, 18, 27, 36]
    assert [Path(path) for path in cycle.snapshots] == [
        Path(logger.log_dir) / "snapshots" / f"cycle={i}-step={9 * i}.ckpt" for i in (1, 2, 3, 4)
    ]


@pytest.mark.parametrize(
    ("arguments", "steps"),
    [
        ({"step_size": 10}, [20, 40]),
        ({"step_size": 5, "num_cycles": 2}, [10, 20]),
        ({"step_size": 5, "fit_cycles": True, "warmup": 4}, [13, 22, 31, 40]),
        ({"step_size": 3, "cycle_mult": 2.0}, [6, 18]),
        ({"step_size": 50}, []),
    ],
)
def test_where_cycles_end(arguments: dict[str, Any], steps: list[int], tmp_path: Path) -> None:
    cycle = CyclicalLR(0.01, 0.1, **arguments, snapshot_cycles=True)
    fit(RecordingClassifier(), cycle, default_root_dir=tmp_path)
    assert _steps(cycle.snapshots) == steps


def test_once_a_cycle_under_accumulation(tmp_path: Path) -> None:
    cycle = CyclicalLR(0.01, 0.1, 2, snapshot_cycles=True)
    fit(RecordingClassifier(), cycle, default_root_dir=tmp_path, accumulate_grad_batches=4)
    assert _steps(cycle.snapshots) == [4, 8]


def test_a_run_resumed_from_a_snapshot_saves_the_next_ones(tmp_path: Path) -> None:
    first = CyclicalLR(0.01, 0.1, 5, snapshot_cycles=True)
    fit(RecordingClassifier(), first, default_root_dir=tmp_path / "first")
    again = CyclicalLR(0.01, 0.1, 5, snapshot_cycles=True)
    fit(RecordingClassifier(), again, default_root_dir=tmp_path / "again", ckpt_path=first.snapshots[1])
    assert again.snapshots[:2] == first.snapshots[:2]
    assert _steps(again.snapshots) == [10, 20, 30, 40]
    assert "again" in again.snapshots[2]


class Paths(Callback):
    """Writes the snapshots that a rank knows of: under DDP nothing else comes back from its process."""

    def __init__(self, cycle: CyclicalLR, path: Path) -> None:
        self.cycle, self.path = cycle, path

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        (self.path / f"rank{trainer.global_rank}").write_text("\n".join(self.cycle.snapshots))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a process that has used CUDA cannot fork")
def test_one_checkpoint_for_two_processes(tmp_path: Path) -> None:
    cycle = CyclicalLR(0.01, 0.1, 5, snapshot_cycles=True)
    paths = Paths(cycle, tmp_path)
    fit(
        Net(),
        cycle,
        paths,
        data=loader(40),
        strategy="ddp_fork",
        accelerator="cpu",
        devices=2,
        max_epochs=1,
        default_root_dir=tmp_path,
    )
    first, second = ((tmp_path / f"rank{rank}").read_text().splitlines() for rank in (0, 1))
    assert first == second
    assert _steps(first) == [10, 20]


def _trained(kind: type[Net], path: Path) -> tuple[list[str], list[Net]]:
    cycle = CyclicalLR(0.01, 0.1, 5, snapshot_cycles=True)
    fit(kind(), cycle, default_root_dir=path)
    members = [kind.load_from_checkpoint(each, map_location="cpu").eval() for each in cycle.snapshots]
    return cycle.snapshots, members


def test_mean_of_predictions(tmp_path: Path) -> None:
    paths, members = _trained(Net, tmp_path)
    x = torch.randn(5, 6)
    both = ensemble(paths, Net)
    assert torch.allclose(both(x), sum(member(x) for member in members) / len(members))
    of_probabilities = ensemble(paths, Net, activation=torch.nn.Softmax(-1))(x)
    assert torch.allclose(of_probabilities, sum(member(x).softmax(-1) for member in members) / len(members))
    assert torch.allclose(of_probabilities.sum(-1), torch.ones(5))


def test_mean_of_weights(tmp_path: Path) -> None:
    paths, members = _trained(Bare, tmp_path)
    mean = ensemble(paths, Bare, average=True)
    assert isinstance(mean, Bare)
    assert not mean.training
    for name, parameter in mean.named_parameters():
        expected = torch.stack([member.get_parameter(name) for member in members]).mean(0)
        assert torch.allclose(parameter, expected, atol=1e-6), name


def test_batch_norm_of_averaged_weights_is_computed_anew(tmp_path: Path) -> None:
    paths, _ = _trained(Net, tmp_path)
    with pytest.raises(ValueError, match="Net has BatchNorm, whose statistics do not fit averaged weights"):
        ensemble(paths, Net, average=True)
    data = loader()
    mean: Any = ensemble(paths, Net, average=True, loader=data)
    features = torch.cat([mean.backbone[0](x) for x, _ in data])
    assert torch.allclose(mean.backbone[1].running_mean, features.mean(0), atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"checkpoints": []}, "checkpoints must be a list of at least one path"),
        ({"checkpoints": "a.ckpt"}, "checkpoints must be a list of at least one path, got 'a.ckpt'"),
        ({"checkpoints": Path("a.ckpt")}, "checkpoints must be a list of at least one path, got .*a.ckpt"),
        ({"average": True, "activation": torch.nn.Softmax(-1)}, "leave it out with average=True"),
        ({"loader": loader()}, "leave it out without average=True"),
    ],
)
def test_bad_ensembles(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ensemble(**{"checkpoints": ["a.ckpt"], "model_class": Net, **arguments})
