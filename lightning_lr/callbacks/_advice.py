"""How a user keeps a learning rate that was found: in the words of the way in which the run was started."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import yaml
from lightning.pytorch import Trainer

from lightning_lr.callbacks._applied import Applied
from lightning_lr.trainer.lightning_packages import either

# Options of a LightningCLI. An optimizer of the command line takes the place of the module's own, so it comes first.
_CLI_OPTIONS = (
    "optimizer.init_args.lr",
    "optimizer.lr",
    "model.init_args.lr",
    "model.lr",
    "model.init_args.learning_rate",
    "model.learning_rate",
)


def how_to_keep(trainer: Trainer, lr: float, applied: Sequence[Applied]) -> str:
    """What to write for a later run: calls, ``lr=0.1`` or, with a LightningCLI, ``--model.lr=0.1``.

    Empty if nothing was set, if the CLI has no option for a learning rate, and with Hydra, whose configuration has
    names that are not known here.

    Args:
        trainer: of the run.
        lr: learning rate to build the optimizer with.
        applied: what was set.
    """
    if not applied or _runs_under_hydra():
        return ""
    callbacks = vars(trainer)["callbacks"]
    save_config = next((each for each in callbacks if isinstance(each, either("cli.SaveConfigCallback"))), None)
    option = _cli_option(save_config) if save_config is not None else None
    in_cli = f"--{option}={lr:.3g}" if option is not None else None
    calls = [each.call if in_cli is None or each.option is None else in_cli for each in applied if each.call]
    if calls:
        return ", ".join(dict.fromkeys(calls))
    if save_config is not None:
        return in_cli or ""
    attribute = next((each.option for each in applied if each.option is not None), "lr")
    return f"{attribute.rpartition('.')[2]}={lr:.3g}"


def _runs_under_hydra() -> bool:
    module = sys.modules.get("hydra.core.hydra_config")  # a run that Hydra started has imported it
    return module is not None and bool(module.HydraConfig.initialized())


def _cli_option(save_config: Any) -> str | None:
    """The first option for a learning rate that the command line has. The dump leaves out those linked to another."""
    config = yaml.safe_load(save_config.parser.dump(save_config.config, skip_none=False))
    return lr_option(config)


def lr_option(config: Any) -> str | None:
    """The first option for a learning rate that the config of a LightningCLI has, such as ``model.init_args.lr``."""
    return next((option for option in _CLI_OPTIONS if _has(config, option)), None)


def _has(config: Any, option: str) -> bool:
    for key in option.split("."):
        if not isinstance(config, dict) or key not in config:
            return False
        config = config[key]
    return True
