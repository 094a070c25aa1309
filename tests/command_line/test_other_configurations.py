"""Ways to configure a callback other than by flags and configs: environment, links, options of the CLI, and Hydra."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import torch
import yaml

from tests.command_line.test_plain_cli import PROJECT, shell

HYDRA = PROJECT.parent / "with_hydra"
VARIABLE = "PL_FIT__TRAINER__CALLBACKS"


def learning_rates(folder: Path) -> list[float]:
    """Those that the steps of a run used, from its CSV log."""
    (log,) = folder.rglob("metrics.csv")
    with log.open() as file:
        return [float(row["lr/SGD"]) for row in csv.DictReader(file) if row.get("lr/SGD")]


def test_environment_links_optimizer_scheduler_and_printed_config(tmp_path: Path) -> None:
    """A plain LightningCLI prints a config from all four, and trains with it as with the options."""
    train = f"python {PROJECT}/linked_train.py fit"
    options = (
        f"-c {PROJECT}/config.yaml --model.lr=0.02 --optimizer=SGD --optimizer.lr=0.001 --lr_scheduler=StepLR"
        " --lr_scheduler.step_size=100 --trainer.logger=CSVLogger --trainer.logger.save_dir=."
    )
    script = f"{train} {options} --print_config > printed.yaml && env -u {VARIABLE} {train} -c printed.yaml"
    callbacks = json.dumps([{"class_path": "lightning_lr.HypergradientLR", "init_args": {"decay": None}}])
    done = shell(script, tmp_path, **{VARIABLE: callbacks})
    assert done.returncode == 0, done.stderr[-2000:]
    printed = yaml.safe_load((tmp_path / "printed.yaml").read_text())
    (callback,) = printed["trainer"]["callbacks"]
    assert callback["class_path"] == "lightning_lr.HypergradientLR"
    assert printed["optimizer"]["init_args"]["lr"] == 0.001
    lrs = learning_rates(tmp_path)
    assert lrs[0] < 0.005  # from 0.001, by up to 10 % a step
    assert max(lrs) == 0.02  # the limit that was linked


def test_hydra(tmp_path: Path) -> None:
    """Its lists do not end up in checkpoints, which torch refuses to load."""
    overrides = "hydra.run.dir=. trainer.max_epochs=3 trainer.callbacks.1.base_lr=[0.002]"
    done = shell(f"python {HYDRA}/hydra_train.py {overrides}", tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    lrs = learning_rates(tmp_path)
    assert min(lrs) == 0.002
    assert max(lrs) == 0.1
    (checkpoint,) = tmp_path.rglob("*.ckpt")
    states = torch.load(checkpoint, weights_only=True)["callbacks"]
    (cycles,) = (state for name, state in states.items() if name.startswith("CyclicalLR"))
    assert cycles["arguments"]["base_lr"] == [0.002]
