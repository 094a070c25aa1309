"""The time of a sweep of 200 steps, and of a whole range test, against as many plain training steps.

The sweep is also compared with Lightning's ``LearningRateFinder``.

python -m benchmarks.range_test_cost
"""

from __future__ import annotations

import argparse
import itertools
import logging
import tempfile
import warnings
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateFinder
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.timing import medians_and_ratios
from lightning_lr import LRRangeTest

STEPS = 200
RUN_STEPS = 200  # of the run after a whole range test, whose trials are at most as long


class Network(LightningModule):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.lr = 1e-3
        self.steps = itertools.count()  # an iterator, which a rehearsal does not restore

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, labels = batch
        return nn.functional.cross_entropy(self.net(images), labels)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        optimizer = torch.optim.SGD(self.parameters(), self.lr, momentum=0.9)
        optimizer.register_step_post_hook(self.count_step)
        return optimizer

    def count_step(self, *_: object) -> None:
        next(self.steps)


def small_cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(512, 10),
    )


def large_mlp() -> nn.Module:
    """25 million parameters."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 3500),
        nn.ReLU(),
        nn.Linear(3500, 3500),
        nn.ReLU(),
        nn.Linear(3500, 3500),
        nn.ReLU(),
        nn.Linear(3500, 10),
    )


def _run(build: Callable[[], nn.Module], callbacks: list[Callback], steps: int) -> int:
    """Train for ``steps``, at least 1: a Trainer cannot stop directly after the sweep. Returns all optimizer steps."""
    torch.manual_seed(0)
    data = TensorDataset(torch.randn(32 * STEPS, 1, 8, 8), torch.randint(10, (32 * STEPS,)))
    with tempfile.TemporaryDirectory() as folder:
        quiet: dict[str, Any] = dict.fromkeys(
            ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
        )
        trainer = Trainer(accelerator="cpu", max_steps=steps, callbacks=callbacks, default_root_dir=folder, **quiet)
        network = Network(build())
        trainer.fit(network, DataLoader(data, 32))
    return next(network.steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    for name, build in (("small CNN", small_cnn), ("MLP, 25 M parameters", large_mlp)):
        # This range does not diverge, so both finders take all of their steps.
        runs: dict[str, Callable[[], Any]] = {
            f"{STEPS + 1} plain steps": lambda build=build: _run(build, [], STEPS + 1),  # type: ignore[misc]
            f"LRRangeTest({STEPS}) + 1 step": lambda build=build: _run(  # type: ignore[misc]
                build, [LRRangeTest(1e-7, 1e-2, STEPS, verify=False)], 1
            ),
            f"LearningRateFinder({STEPS}) + 1 step": lambda build=build: _run(  # type: ignore[misc]
                build, [LearningRateFinder(1e-7, 1e-2, STEPS, early_stop_threshold=None)], 1
            ),
        }
        print(f"{name}\n{medians_and_ratios(runs, f'{STEPS + 1} plain steps', repeats)}")
        steps = _run(build, [LRRangeTest()], RUN_STEPS)
        whole: dict[str, Callable[[], Any]] = {
            f"{steps} plain steps": lambda build=build, steps=steps: _run(build, [], steps),  # type: ignore[misc]
            f"LRRangeTest() + {RUN_STEPS} steps": lambda build=build: _run(  # type: ignore[misc]
                build, [LRRangeTest()], RUN_STEPS
            ),
        }
        print(medians_and_ratios(whole, f"{steps} plain steps", repeats))


if __name__ == "__main__":
    main()
