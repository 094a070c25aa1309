"""Both packages of Lightning, in every order in which a program may import them and us."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch
import pytest
import pytorch_lightning

from lightning_lr.trainer.lightning_packages import Callback, MisconfigurationException, either, from_package_of

PACKAGES: list[Any] = [lightning.pytorch, pytorch_lightning]
ORDERS = [
    ["lightning.pytorch", "lightning_lr"],
    ["pytorch_lightning", "lightning_lr"],
    ["lightning_lr", "pytorch_lightning"],
    ["pytorch_lightning", "lightning.pytorch", "lightning_lr"],
    ["lightning.pytorch", "pytorch_lightning", "lightning_lr"],
]

# For each order a fork imports modules in it, and runs a range test and cycles by the command line of each package.
# What takes longest to import is imported before, since it is not of Lightning.
SCRIPT = """
import importlib, json, logging, os, sys, warnings
import jsonargparse, matplotlib.pyplot, torch.utils.tensorboard, torchmetrics
assert not any("lightning" in name.partition(".")[0] for name in sys.modules if "lightning_utilities" not in name)
warnings.simplefilter("ignore")
for order in json.loads(sys.argv[1]):
    if os.fork() == 0:
        break
    if os.wait()[1]:
        sys.exit(f"failed: {order}")
else:
    sys.exit()
for name in order:
    importlib.import_module(name)
from lightning_utilities.core import rank_zero
logger = rank_zero.log.name
from torch.utils.data import DataLoader

def run(package):
    pl = importlib.import_module(package)
    logging.getLogger(package).setLevel(logging.ERROR)
    cli = importlib.import_module(package + ".cli")
    data = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))

    class Net(pl.LightningModule):
        def __init__(self, lr: float = 0.01):
            super().__init__()
            self.lr = lr
            self.layer = torch.nn.Linear(4, 1)
        def training_step(self, batch, batch_idx):
            return (self.layer(batch) - batch.sum(1, keepdim=True)).square().mean()
        def train_dataloader(self):
            return DataLoader(data, 4)
        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), self.lr)

    test = {"class_path": "lightning_lr.LRRangeTest", "init_args": {"num_steps": 30, "verify": False}}
    cycles = {"class_path": "lightning_lr.CyclicalLR", "init_args": {"step_size": "0.5run"}}
    scheduler = f"{package}.callbacks.GradientAccumulationScheduler"
    scheduler = {"class_path": scheduler, "init_args": {"scheduling": {0: 2}}}
    options = {"max_epochs": 2, "logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    options |= {"enable_model_summary": False, "accelerator": "cpu", "callbacks": [test, cycles, scheduler]}
    ran = cli.LightningCLI(Net, args={"trainer": options}, run=False, seed_everything_default=1,
                           save_config_callback=None)
    rates = []
    class Recorder(pl.Callback):
        def on_before_optimizer_step(self, trainer, module, optimizer):
            rates.append(optimizer.param_groups[0]["lr"])
    ran.trainer.callbacks.append(Recorder())
    ran.trainer.fit(ran.model)
    return [ran.trainer.callbacks[0].result.lr, *rates]

print(json.dumps({"order": order, "logger": logger, "rates": [run("lightning.pytorch"), run("pytorch_lightning")]}))
"""


def test_both_command_lines_in_every_order_of_imports(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(ORDERS)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    said = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    assert [each["order"] for each in said] == ORDERS
    for each in said:
        order = each["order"]
        of_lightning, of_pytorch_lightning = each["rates"]
        found, *rates = of_lightning
        assert of_lightning == of_pytorch_lightning, order
        # 16 batches an epoch, two a step: one cycle over the run, with its peak above the rate that was found
        assert len(rates) == 16, order
        assert max(rates) == rates[8] > found > min(rates) == rates[0], order
        # Messages go where they would go if the program did not import us.
        packages = [name for name in order if name != "lightning_lr"]
        expected = packages[-1] if order[-1] == "lightning_lr" else "lightning.pytorch"
        assert each["logger"].startswith(f"{expected}."), order


def test_callbacks_and_errors_are_of_both() -> None:
    for package in PACKAGES:
        assert issubclass(Callback, package.Callback)
        assert issubclass(MisconfigurationException, package.utilities.exceptions.MisconfigurationException)
    assert either("Trainer") == (lightning.pytorch.Trainer, pytorch_lightning.Trainer)


@pytest.mark.parametrize("package", PACKAGES, ids=["lightning", "pytorch_lightning"])
def test_what_is_built_comes_from_the_package_of_the_trainer(package: Any) -> None:
    class OwnTrainer(package.Trainer):  # type: ignore[misc]
        pass

    trainer = OwnTrainer(logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu")
    assert from_package_of(trainer, "profilers.PassThroughProfiler") is package.profilers.PassThroughProfiler


def test_an_object_that_is_no_trainer() -> None:
    with pytest.raises(
        TypeError, match=r"trainer must be a Trainer of lightning.pytorch or pytorch_lightning, got str"
    ):
        from_package_of("trainer", "Trainer")
