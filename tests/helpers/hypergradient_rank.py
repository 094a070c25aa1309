"""One rank of runs with `HypergradientLR`. `test_hypergradient_distributed.py` starts it once for each rank."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from torch.distributed.fsdp import fully_shard

from lightning_lr import HypergradientLR
from tests.helpers.equal_lrs import EqualLRs
from tests.helpers.lightning_classes import (
    PACKAGE,
    Callback,
    DDPStrategy,
    ModelParallelStrategy,
    Strategy,
    Trainer,
    seed_everything,
)
from tests.helpers.recorded_steps import RecordingClassifier
from tests.helpers.schedule_cases import SaveAt
from tests.helpers.tiny_models import loader


class Network(RecordingClassifier):
    """Without dropout and BatchNorm, so that all ranks stay equal."""

    def __init__(self, shards: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shards = shards
        self.backbone = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.Tanh())

    def configure_model(self) -> None:
        if self.shards and self.device_mesh is not None:
            mesh = self.device_mesh["data_parallel"]
            fully_shard(self.backbone, mesh=mesh)
            fully_shard(self.head, mesh=mesh)


class LossOnFirstRank(Network):
    """Returns its loss on the first rank only in every second step, as manual optimization may."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(False, **kwargs)
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        optimizer: Any = self.optimizers()
        loss = super().training_step(batch, batch_idx)
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        return loss if batch_idx % 2 or self.global_rank == 0 else None


def mean_losses(every: int) -> list[float]:
    """The mean of the losses that divergence is judged by, its expected value, and the number of losses in it.

    The mean is the same on every rank.
    """
    seed_everything(3, verbose=False)
    network, callback = LossOnFirstRank(lr=1e-4), HypergradientLR(horizon=20, every=every)
    trainer = _trainer(DDPStrategy(), callback, 2)
    trainer.fit(network, loader(40))
    watch = callback.state_dict()["progress"][0]["watch"]
    of_ranks = trainer.strategy.all_gather(torch.tensor(network.losses))
    losses = torch.where(torch.arange(40) % 2 == 1, of_ranks.mean(0), of_ranks[0])  # an epoch has 20 batches
    expected = losses[0].item()
    for loss in losses[: watch["calm"]].tolist():  # later ones are added at the next measurement
        expected += 0.2 * (loss - expected)
    mean = torch.tensor(watch["level"])
    assert torch.equal(trainer.strategy.all_gather(mean), torch.stack([mean, mean]))
    return [watch["level"], expected, float(watch["calm"])]


def saved_losses(folder: Path) -> tuple[list[float], list[float]]:
    """The losses in a checkpoint between two measurements, and their means over the ranks that have them."""
    seed_everything(3, verbose=False)
    network, path = LossOnFirstRank(lr=1e-4), folder / "between.ckpt"
    trainer = _trainer(DDPStrategy(), HypergradientLR(horizon=20, every=5, decay=None), 1, SaveAt(19, path))
    trainer.fit(network, loader(40))
    of_ranks = trainer.strategy.all_gather(torch.tensor(network.losses))[:, :19]
    losses = torch.where(torch.arange(19) % 2 == 1, of_ranks.mean(0), of_ranks[0]).tolist()
    saved = torch.load(path, weights_only=True)["callbacks"]["HypergradientLR"]["progress"][0]["losses"]
    return saved, losses[-len(saved) :]


class FailsOnFirstRank(Network):
    """Its loss is not finite from step 10 on, on the first rank only."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        return loss * float("nan") if len(self.losses) > 10 and self.global_rank == 0 else loss


def guards_ended() -> list[bool]:
    """Whether the guard of each rank has ended. Training goes on to its last step."""
    seed_everything(3, verbose=False)
    network, callback = FailsOnFirstRank(False, lr=1e-4), HypergradientLR(horizon=20)
    trainer = _trainer(DDPStrategy(), callback, 2)
    trainer.fit(network, loader(40))
    _used(trainer, network, 40)
    ended = torch.tensor(callback.state_dict()["progress"][0]["guard_ended"])
    return [bool(each) for each in trainer.strategy.all_gather(ended)]


def rates(strategy: Strategy, shards: bool, rule: dict[str, Any], **model: Any) -> list[float]:
    """The learning rate of each of 40 steps. It is the same on every rank."""
    seed_everything(3, verbose=False)
    network = Network(shards, lr=1e-4, **model)
    trainer = _trainer(strategy, HypergradientLR(**rule), 2)
    trainer.fit(network, loader(40))
    return _used(trainer, network, 40)


def resumed_rates(folder: Path, rule: dict[str, Any]) -> list[float]:
    """The learning rates of the last 20 of 40 steps, resumed from a checkpoint with a sharded model."""
    for epochs, path in ((1, None), (2, folder / "half.ckpt")):
        seed_everything(3, verbose=False)
        network = Network(True, lr=1e-4)
        trainer = _trainer(
            ModelParallelStrategy(2, 1, save_distributed_checkpoint=False), HypergradientLR(**rule), epochs
        )
        trainer.fit(network, loader(40), ckpt_path=path)
        trainer.save_checkpoint(folder / "half.ckpt")
    return _used(trainer, network, 21)[1:]  # torch itself makes one step with learning rate 0, to create the state


def _trainer(strategy: Strategy, callback: HypergradientLR, epochs: int, *others: Callback) -> Trainer:
    return Trainer(
        accelerator="cpu",
        devices=2,
        strategy=strategy,
        max_epochs=epochs,
        callbacks=[callback, *others, EqualLRs()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _used(trainer: Trainer, network: Network, steps: int) -> list[float]:
    used = torch.tensor([step[0] for step in network.used], dtype=torch.float64)
    assert torch.equal(trainer.strategy.reduce(used.clone(), reduce_op="mean"), used)
    assert len(used) == steps
    return used.tolist()


def main(folder: Path) -> None:
    long: dict[str, Any] = {"horizon": 20, "decay": None}
    short: dict[str, Any] = {"rule": "multiplicative", "beta": 0.02}
    buckets: dict[str, Any] = {"gradient_as_bucket_view": True}
    found = {
        "long, ddp": rates(DDPStrategy(), False, long),
        "long, fsdp2": rates(ModelParallelStrategy(2, 1, save_distributed_checkpoint=False), True, long),
        "long, fsdp2 resumed": resumed_rates(folder, long),
        "short, fsdp2 resumed": resumed_rates(folder, short),
        "short, ddp": rates(DDPStrategy(), False, short, momentum=0.0),
        "guards ended": guards_ended(),
        "mean losses": mean_losses(1),
        "saved losses": saved_losses(folder),
        "mean losses, sparse": mean_losses(5),
        "short, buckets": rates(DDPStrategy(**buckets), False, short, momentum=0.0),
    }
    if torch.distributed.get_rank() == 0:
        (folder / "rates.json").write_text(json.dumps(found))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.getLogger(PACKAGE).setLevel(logging.ERROR)
    main(Path(sys.argv[1]))
    torch.distributed.destroy_process_group()
